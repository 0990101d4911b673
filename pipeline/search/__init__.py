"""The search: the most accurate kmodel at every size, sized before anything is trained."""
