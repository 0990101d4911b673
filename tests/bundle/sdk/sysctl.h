#pragma once
#include <stdint.h>
typedef enum { SYSCTL_PLL0, SYSCTL_PLL1 } sysctl_pll_t;
typedef enum { SYSCTL_CLOCK_AI = 12 } sysctl_clock_t;
typedef enum { SYSCTL_POWER_BANK6 = 6, SYSCTL_POWER_BANK7 } sysctl_power_bank_t;
typedef enum { SYSCTL_POWER_V33, SYSCTL_POWER_V18 } sysctl_io_power_mode_t;
uint32_t sysctl_pll_set_freq(sysctl_pll_t pll, uint32_t pll_freq);
int sysctl_clock_enable(sysctl_clock_t clock);
void sysctl_set_power_mode(sysctl_power_bank_t power_bank, sysctl_io_power_mode_t io_power_mode);
uint32_t sysctl_set_spi0_dvp_data(uint8_t en);
void sysctl_enable_irq(void);
