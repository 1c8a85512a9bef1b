#include "kernels_avx512.h"

/* Tiles 0-3: 16x16 int32 sums of two row blocks by two panels; 4, 5: inputs; 6, 7: weights. */
static void configure(size_t quads) {
  struct alignas(64) {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } shapes = {};
  shapes.palette = 1;
  for (int t = 0; t < 8; ++t) {
    shapes.rows[t] = t < 6 ? 16 : (uint8_t)quads;
    shapes.row_bytes[t] = t == 4 || t == 5 ? (uint16_t)(quads * kQuad) : 64;
  }
  /* The intrinsic declares 8 of the 64 bytes it reads. */
  __asm__ volatile("" : : "r"(&shapes) : "memory");
  _tile_loadconfig(&shapes);
}

template <bool Signed>
static inline void multiply(int blocks, int panels) {
#define PRODUCT(c, a, b) \
  if (Signed)            \
    _tile_dpbssd(c, a, b); \
  else                   \
    _tile_dpbusd(c, a, b)
  PRODUCT(0, 4, 6);
  if (panels == 2) { PRODUCT(1, 4, 7); }
  if (blocks == 2) { PRODUCT(2, 5, 6); }
  if (blocks == 2 && panels == 2) { PRODUCT(3, 5, 7); }
#undef PRODUCT
}

/* 16 * Blocks rows by 16 * Panels outputs. */
template <bool Signed, int Blocks, int Panels>
static void dense_tile(const Dense *d, size_t row, size_t panel) {
  const size_t length = d->chunks * d->quads * 64, step = d->quads * 64;
  const int8_t *b = d->b + panel * length;
  const uint8_t *a = d->a + row * d->a_stride;
  const long stride = (long)d->a_stride;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t k = 0; k < d->chunks; ++k, b += step) {
    const uint8_t *from = a + d->offsets[k];
    _tile_loadd(4, from, stride);
    if (Blocks == 2) _tile_loadd(5, from + 16 * stride, stride);
    _tile_loadd(6, b, 64);
    if (Panels == 2) _tile_loadd(7, b + length, 64);
    multiply<Signed>(Blocks, Panels);
  }
  int32_t *c = d->c + row * d->c_stride + panel * kPanel;
  const long to = (long)d->c_stride * 4;
  _tile_stored(0, c, to);
  if (Panels == 2) _tile_stored(1, c + kPanel, to);
  if (Blocks == 2) _tile_stored(2, c + 4 * to, to);
  if (Blocks == 2 && Panels == 2) _tile_stored(3, c + 4 * to + kPanel, to);
}

template <bool Signed, int Panels>
static void dense_panels(const Dense *d, size_t panel) {
  size_t row = 0;
  for (; row + 16 < d->rows; row += 32) dense_tile<Signed, 2, Panels>(d, row, panel);
  if (row < d->rows) dense_tile<Signed, 1, Panels>(d, row, panel);
}

template <bool Signed>
static void dense_of(const Dense *d) {
  size_t panel = 0;
  for (; panel + 2 <= d->panels; panel += 2) dense_panels<Signed, 2>(d, panel);
  if (panel < d->panels) dense_panels<Signed, 1>(d, panel);
}

static void dense(const Dense *d) {
  configure(d->quads);
  d->is_signed ? dense_of<true>(d) : dense_of<false>(d);
  _tile_release();
}

extern "C" const KernelTable kernels_amx = {
    "amx",         2,      16,          255,
    kSignedNative, dense,  gather,      gather_wide,
    gather_int16<true>, gather_times, events, list_events<true>, join, count,
    add_scaled,    add_bytes, cells,    join_sums};
