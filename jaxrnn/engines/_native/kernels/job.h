// What one call is given: sizes, arrays and, for every row, where it lies in each of them.
//
// A row is one sequence. Rows are sorted by length, the longest first, so that the rows that
// still run at a step are the first ones; `*_row` say where a row begins, in units of its
// array's rows. So batch-major and time-major arrays, and arrays that are shared by several
// rows, are all the same to the kernels.
#pragma once

#include "team.h"

namespace jaxrnn {

// To 16 bits: those of bfloat16 or of float16. Nothing else is rounded.
enum Rounding { kNone = 0, kBfloat16 = 1, kFloat16 = 2 };

template <class T>
struct Job {
  long steps, inputs, units, rows;
  long stride;  // from one step to the next, in rows of xs, hs, ...
  bool reverse;
  bool clear;         // what is kept, too, where a row has ended: else it is left as it was
  Rounding rounding;  // of the state where it meets the weights
  const long* length;  // [rows], descending

  const T *xs, *h0, *c0, *wx, *wh, *bx, *bh;
  const bool* resets;  // or null
  const long *x_row, *reset_row, *h0_row, *c0_row;

  // What the forward pass writes; cs and gates may be null.
  T *hs, *ht, *ct, *cs, *gates;
  const long *seq_row, *state_row;

  // What the backward pass reads besides, and writes.
  const T *hs_in, *cs_in, *gates_in, *dhs, *dht, *dct;
  const long *hs_row, *cs_row, *gates_row, *dhs_row, *dht_row, *dct_row;
  T *dxs, *dh0, *dc0, *dwx, *dwh, *dbx, *dbh;
};

enum CellId { kRnn = 0, kLstm = 1, kGru = 2, kRelu = 3 };

// The same function, once for every instruction set.
#define JAXRNN_DECLARE(isa)                                       \
  namespace isa {                                                 \
  void run(bool back, CellId cell, const Job<float>&, Team&);     \
  void run(bool back, CellId cell, const Job<double>&, Team&);    \
  }
JAXRNN_DECLARE(portable)
JAXRNN_DECLARE(avx2)
JAXRNN_DECLARE(avx512)
#undef JAXRNN_DECLARE

}  // namespace jaxrnn
