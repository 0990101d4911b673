"""The fast simulator behind ``pipeline.kpu.simulate``: the arithmetic of ``pipeline.kpu.arithmetic``, fast and still exact."""
