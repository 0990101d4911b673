#pragma once
typedef enum { DMAC_CHANNEL0 = 0, DMAC_CHANNEL5 = 5 } dmac_channel_number_t;
