#pragma once
#include <stddef.h>
#include <stdint.h>
#include "dmac.h"
#include "plic.h"
#define IOMEM 0x40000000
typedef void (*kpu_done_callback_t)(void *userdata);
typedef struct
{
    int is_nncase;
    void *nncase_ctx;
} kpu_model_context_t;
int kpu_load_kmodel(kpu_model_context_t *ctx, const uint8_t *buffer);
void kpu_model_free(kpu_model_context_t *ctx);
int kpu_get_output(kpu_model_context_t *ctx, uint32_t index, uint8_t **data, size_t *size);
int kpu_run_kmodel(kpu_model_context_t *ctx, const uint8_t *src, dmac_channel_number_t dma_ch, kpu_done_callback_t done_callback, void *userdata);
