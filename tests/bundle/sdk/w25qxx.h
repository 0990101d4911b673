#pragma once
#include <stdint.h>
typedef enum { W25QXX_OK = 0, W25QXX_BUSY, W25QXX_ERROR } w25qxx_status_t;
typedef enum { W25QXX_STANDARD = 0, W25QXX_QUAD_FAST = 5 } w25qxx_read_t;
w25qxx_status_t w25qxx_init(uint8_t spi_index, uint8_t spi_ss);
w25qxx_status_t w25qxx_enable_quad_mode(void);
w25qxx_status_t w25qxx_read_data(uint32_t addr, uint8_t *data_buf, uint32_t length, w25qxx_read_t mode);
