#pragma once
void uarths_init(void);
