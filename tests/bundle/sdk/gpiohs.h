#pragma once
#include <stdint.h>
typedef enum { GPIO_DM_INPUT_PULL_UP = 2 } gpio_drive_mode_t;
typedef enum { GPIO_PV_LOW, GPIO_PV_HIGH } gpio_pin_value_t;
void gpiohs_set_drive_mode(uint8_t pin, gpio_drive_mode_t mode);
gpio_pin_value_t gpiohs_get_pin(uint8_t pin);
