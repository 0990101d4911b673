"""The fast simulator behind ``pipeline.kpu.simulate``: what ``pipeline.kpu.arithmetic`` says, fast and still exact."""
