// Products of a few rows with weights as they lie in memory: to pack them would cost as much.

constexpr int kFewRows = 6;

// The rows of a matrix [rows, gates * H], where every block of columns begins a whole vector.
template <class T>
struct Plain {
  const T* data;
  long row, block;  // from one to the next
};

// The matrix itself where H is a whole number of vectors; otherwise a copy with zeros between.
template <class T, class Cell>
Plain<T> plain(const T* w, long rows, long H, T* copy) {
  const long stride = whole<T>(H), G = Cell::gates;
  if (stride == H) return {w, G * H, H};
  for (long k = 0; k < rows * G; ++k) {
    clear_row(copy + k * stride, stride);
    copy_row(w + k * H, copy + k * stride, H);
  }
  return {copy, G * stride, stride};
}

template <class T, class Cell>
long plain_size(long rows, long H) {
  return whole<T>(H) == H ? 0 : rows * Cell::gates * whole<T>(H);
}

// z += a @ w for M rows, `units` columns and Deep rows of w: as many as make it worth fetching the
// sums.
template <class T, int M, int Deep>
INLINE void add_rows(const T* a, long a_stride, const T* w, long row, T* z, long z_stride,
                     long units) {
  constexpr bool kept = M * Deep <= 16;
  Vec<T> x[kept ? M : 1][kept ? Deep : 1];
  if (kept)
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int j = 0; j < Deep; ++j) x[m][j] = splat<T>(a[m * a_stride + j]);
  for (long u = 0; u < units; u += lanes<T>) {
    Vec<T> sum[M];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sum[m] = load(z + m * z_stride + u);
#pragma GCC unroll 8
    for (int j = 0; j < Deep; ++j) {
      const Vec<T> of_w = load(w + j * row + u);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
        sum[m] += (kept ? x[m][j] : splat<T>(a[m * a_stride + j])) * of_w;
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) store(z + m * z_stride + u, sum[m]);
  }
}

template <class T, int M>
__attribute__((noinline)) void add_rows(bool deep, const T* a, long a_stride, const T* w, long row,
                                        T* z, long z_stride, long units) {
  if (deep) add_rows<T, M, 8>(a, a_stride, w, row, z, z_stride, units);
  else add_rows<T, M, 1>(a, a_stride, w, row, z, z_stride, units);
}

template <class T>
INLINE T sum_of(Vec<T> v) {
  T sum = v[0];
  for (int l = 1; l < lanes<T>; ++l) sum += v[l];
  return sum;
}

// out[m][j] (+)= z[m] . w[j] over `blocks` blocks of columns, for Rows rows of w from j on.
template <class T, int M, int Rows>
INLINE void dot_rows_of(const T* z, long z_stride, long stride, long blocks, const int* source,
                        const Plain<T>& w, long j, T* out, long out_stride, bool add) {
  Vec<T> sum[M][Rows] = {};
  for (long b = 0; b < blocks; ++b) {
    const T* of_w = w.data + j * w.row + source[b] * w.block;
    for (long u = 0; u < stride; u += lanes<T>) {
      Vec<T> v[Rows];
#pragma GCC unroll 8
      for (int n = 0; n < Rows; ++n) v[n] = load(of_w + n * w.row + u);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const Vec<T> of_z = load(z + m * z_stride + b * stride + u);
#pragma GCC unroll 8
        for (int n = 0; n < Rows; ++n) sum[m][n] += of_z * v[n];
      }
    }
  }
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < Rows; ++n) {
      T* to = out + m * out_stride + j + n;
      *to = (add ? *to : T(0)) + sum_of<T>(sum[m][n]);
    }
}

template <class T, int M>
constexpr int dot_height = M == 1 ? 8 : JAXRNN_BYTES == 64 ? 4 : M < 4 ? 3 : 2;

template <class T, int M>
__attribute__((noinline)) void dot_rows(const T* z, long z_stride, long stride, long blocks,
                                        const int* source, const Plain<T>& w, long j, long rows,
                                        T* out, long out_stride, bool add) {
  constexpr int kHigh = dot_height<T, M>;
  long n = 0;
  for (; n + kHigh <= rows; n += kHigh)
    dot_rows_of<T, M, kHigh>(z, z_stride, stride, blocks, source, w, j + n, out, out_stride, add);
  for (; n < rows; ++n)
    dot_rows_of<T, M, 1>(z, z_stride, stride, blocks, source, w, j + n, out, out_stride, add);
}

// Calls CALL with the number of rows as a constant, for as many rows `i` as there are at a time.
#define JAXRNN_FEW(rows, i, CALL)                                                     \
  for (long i = 0, left_ = (rows), taken_; left_ > 0; i += taken_, left_ -= taken_) { \
    const long turns_ = (left_ + kFewRows - 1) / kFewRows;                            \
    taken_ = (left_ + turns_ - 1) / turns_;                                           \
    switch (taken_) {                                                                 \
      case 1: CALL(1); break;                                                         \
      case 2: CALL(2); break;                                                         \
      case 3: CALL(3); break;                                                         \
      case 4: CALL(4); break;                                                         \
      case 5: CALL(5); break;                                                         \
      case 6: CALL(6); break;                                                         \
    }                                                                                 \
  }

// z [rows, units] += a [rows, depth] @ w: a tile of z stays near, and w is read once.
template <class T>
void add_product(long rows, const T* a, long a_stride, long depth, const T* w, long row, T* z,
                 long z_stride, long units) {
  for (long tile = 0; tile < units; tile += kTile) {
    const long some = units - tile < kTile ? units - tile : kTile;
    for (long k = 0, deep; k < depth; k += deep ? 8 : 1) {
      deep = k + 8 <= depth;
#define JAXRNN_CALL(M)                                                           \
  add_rows<T, M>(deep, a + i * a_stride + k, a_stride, w + k * row + tile, row,  \
                 z + i * z_stride + tile, z_stride, some)
      JAXRNN_FEW(rows, i, JAXRNN_CALL)
#undef JAXRNN_CALL
    }
  }
}

// out [rows, from:to] (+)= z [rows, blocks * stride] @ the rows [from, to) of w, transposed: a few
// rows of w stay near, and are read once.
template <class T>
void dot_product(long rows, const T* z, long z_stride, long stride, long blocks, const int* source,
                 const Plain<T>& w, long from, long to, T* out, long out_stride, bool add) {
  for (long j = from, some; j < to; j += some) {
    some = to - j < 8 ? to - j : 8;
#define JAXRNN_CALL(M)                                                                        \
  dot_rows<T, M>(z + i * z_stride, z_stride, stride, blocks, source, w, j, some,              \
                 out + i * out_stride, out_stride, add)
    JAXRNN_FEW(rows, i, JAXRNN_CALL)
#undef JAXRNN_CALL
  }
}

// The units of thread p of `parts`.
template <class T>
INLINE Units units_of(long n, long parts, long p) {
  const long vectors = whole<T>(n) / lanes<T>;
  return {vectors * p / parts * lanes<T>, vectors * (p + 1) / parts * lanes<T>};
}

template <class T>
long unit_parts(const Job<T>& job, long bytes, const Team& team) {
  // A thread's own weights are worth a barrier at every step when they are many.
  long parts = bytes / kSplitBytes;
  if (parts > team.size()) parts = team.size();
  return parts < 1 ? 1 : parts;
}

// Whether there are so few rows that every thread gets units and not rows, or so few samples that
// packed weights do not pay.
template <class T>
bool is_few(const Job<T>& job) {
  return job.rows <= kFewRows || job.rows * job.steps <= kFewPacked;
}
