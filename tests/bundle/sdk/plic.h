#pragma once
#include <stdint.h>
typedef int (*plic_irq_callback_t)(void *ctx);
typedef enum { IRQN_DVP_INTERRUPT = 24 } plic_irq_t;
void plic_init(void);
int plic_irq_enable(plic_irq_t irq_number);
int plic_set_priority(plic_irq_t irq_number, uint32_t priority);
void plic_irq_register(plic_irq_t irq, plic_irq_callback_t callback, void *ctx);
