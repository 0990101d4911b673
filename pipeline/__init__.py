"""kpufit: from a trained image network to a ``.kmodel`` that provably runs on a K210's KPU."""
