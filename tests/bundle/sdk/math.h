#pragma once
float expf(float);
float fabsf(float);
float fmaxf(float, float);
