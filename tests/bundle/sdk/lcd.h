#pragma once
#include <stdint.h>
#define BLACK 0x0000
#define RED 0xF800
typedef enum { DIR_YX_RLDU = 0xA0 } lcd_dir_t;
void lcd_init(void);
void lcd_clear(uint16_t color);
void lcd_set_direction(lcd_dir_t dir);
void lcd_draw_string(uint16_t x, uint16_t y, char *str, uint16_t color);
void lcd_draw_picture(uint16_t x1, uint16_t y1, uint16_t width, uint16_t height, uint32_t *ptr);
