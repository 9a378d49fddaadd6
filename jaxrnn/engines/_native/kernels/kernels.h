// The kernels of one instruction set. A file of that set includes, in this order, the standard
// library, this file's `job.h`, the compiler's switch to the set, and then this file with
// JAXRNN_ISA (a namespace) and JAXRNN_BYTES (of a vector) defined.

namespace jaxrnn {

void* allocate(long bytes);  // throws std::bad_alloc
void release(void* memory);

namespace JAXRNN_ISA {

#include "simd.h"
#include "cells.h"
#include "gemm.h"

constexpr long kLine = 16;                // at least a cache line of any type
constexpr long kMostParts = 256;
constexpr long kHeight = 48;              // rows of dw for one thread at a time
constexpr long kChunkBytes = 2 << 20;     // of a chunk of samples in the backward pass

// Many rows: each thread has its own.
constexpr long kNear = 512 * 1024;        // bytes of weights that stay in a core's own cache
constexpr long kFew = 24;                 // rows whose pre-activations stay in the L1 cache
constexpr long kMostSteps = 16;           // steps of a chunk
constexpr long kChunkSamples = 512;       // that make it worth fetching weights from afar

// Few rows: each thread has its own units.
constexpr long kFewPacked = 64;           // as many samples do not make it worth packing weights
constexpr long kPackSteps = 8;            // as many steps do
constexpr long kSplitBytes = 128 * 1024;  // of weights make a thread worth its barrier
constexpr long kFewSamples = 48;          // that meet the input's weights at once
constexpr long kFewSteps = 128;           // steps of a chunk of the backward pass
constexpr long kTile = 256;               // columns of pre-activations that stay in the L1 cache

#include "layout.h"

template <class T>
long parts_wanted(const Job<T>& job, const Team& team, bool far) {
  // Two parts a thread even out what else the machine does; weights from afar are worth more.
  long parts = team.size() * (far || team.size() == 1 ? 1 : 2);
  const long most = (job.rows + kRows - 1) / kRows;
  if (parts > most) parts = most;
  return parts < 1 ? 1 : parts > kMostParts ? kMostParts : parts;
}

#include "forward.h"
#include "gradient.h"
#include "steps.h"
#include "backward.h"
#include "few.h"
#include "few_forward.h"
#include "few_backward.h"

template <class T, class Cell>
void run_cell(bool back, const Job<T>& job, Team& team) {
  if (is_few(job)) {
    if (back) FewBackward<T, Cell>(job).run(team);
    else FewForward<T, Cell>(job, team).run(team);
  } else {
    if (back) Backward<T, Cell>(job).run(team);
    else run_forward<T, Cell>(job, team);
  }
}

template <class T>
void run_of(bool back, CellId cell, const Job<T>& job, Team& team) {
  if (cell == kRnn) run_cell<T, Rnn>(back, job, team);
  if (cell == kLstm) run_cell<T, Lstm>(back, job, team);
  if (cell == kGru) run_cell<T, Gru>(back, job, team);
  if (cell == kRelu) run_cell<T, Relu>(back, job, team);
}

void run(bool back, CellId cell, const Job<float>& job, Team& team) {
  run_of(back, cell, job, team);
}
void run(bool back, CellId cell, const Job<double>& job, Team& team) {
  run_of(back, cell, job, team);
}

}  // namespace JAXRNN_ISA
}  // namespace jaxrnn
