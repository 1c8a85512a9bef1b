#include "kernels_avx512.h"

/* vpdpbusd: 64 products of unsigned inputs and signed weights into 16 int32 sums, exactly. */
template <int Rows, int Panels>
static void dense_block(const Dense *d, size_t row, size_t panel) {
  const size_t length = d->chunks * d->quads * 64;
  const int8_t *b = d->b + panel * length;
  const uint8_t *a = d->a + row * d->a_stride;
  __m512i sums[Rows][Panels];
  for (int p = 0; p < Panels; ++p) {
    const int32_t *init = d->init ? d->init + (panel + (size_t)p) * kPanel : nullptr;
    const __m512i start = init ? _mm512_loadu_si512(init) : _mm512_setzero_si512();
    for (int r = 0; r < Rows; ++r) sums[r][p] = start;
  }
  for (size_t k = 0; k < d->chunks; ++k) {
    const uint8_t *from = a + d->offsets[k];
    for (size_t q = 0; q < d->quads; ++q, b += 64, from += kQuad) {
      __m512i weights[Panels];
      for (int p = 0; p < Panels; ++p) weights[p] = _mm512_loadu_si512(b + (size_t)p * length);
      for (int r = 0; r < Rows; ++r) {
        int32_t four;
        __builtin_memcpy(&four, from + (size_t)r * d->a_stride, 4);
        const __m512i x = _mm512_set1_epi32(four);
        for (int p = 0; p < Panels; ++p) sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], x, weights[p]);
      }
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int p = 0; p < Panels; ++p)
      _mm512_storeu_si512(d->c + (row + (size_t)r) * d->c_stride + (panel + (size_t)p) * kPanel,
                          sums[r][p]);
}

template <int Panels>
static void dense_panels(const Dense *d, size_t panel) {
  size_t row = 0;
  for (; row + 6 <= d->rows; row += 6) dense_block<6, Panels>(d, row, panel);
  for (; row + 2 <= d->rows; row += 2) dense_block<2, Panels>(d, row, panel);
  for (; row < d->rows; ++row) dense_block<1, Panels>(d, row, panel);
}

static void dense(const Dense *d) {
  size_t panel = 0;
  for (; panel + 4 <= d->panels; panel += 4) dense_panels<4>(d, panel);
  for (; panel + 2 <= d->panels; panel += 2) dense_panels<2>(d, panel);
  for (; panel < d->panels; ++panel) dense_panels<1>(d, panel);
}

extern "C" const KernelTable kernels_avx512vnni = {
    "avx512vnni", 4,      1,           255,
    kSignedShifted, dense,  gather,      gather_wide,
    gather_int16<true>, gather_times, events, list_events<true>, join, count,
    add_scaled,    add_bytes, cells,    join_sums};
