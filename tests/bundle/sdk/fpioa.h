#pragma once
typedef enum
{
    FUNC_SPI0_SS3 = 15,
    FUNC_SPI0_SCLK = 17,
    FUNC_GPIOHS0 = 24,
    FUNC_CMOS_XCLK = 128,
    FUNC_CMOS_RST,
    FUNC_CMOS_PWDN,
    FUNC_CMOS_VSYNC,
    FUNC_CMOS_HREF,
    FUNC_CMOS_PCLK,
    FUNC_SCCB_SCLK = 142,
    FUNC_SCCB_SDA,
} fpioa_function_t;
int fpioa_set_function(int number, fpioa_function_t function);
