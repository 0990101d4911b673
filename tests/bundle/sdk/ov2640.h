#pragma once
int ov2640_init(void);
