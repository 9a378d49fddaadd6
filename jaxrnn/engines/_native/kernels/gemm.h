// Products of small row blocks with packed weights.
//
// The weights are cut into panels of a few vectors' columns; a panel's rows lie one after the
// other. A kernel keeps a block of kRows x panel sums in registers for as long as it can. Every
// number of the result is summed in an order that does not depend on the block it fell into, so
// that a row's result does not depend on its neighbours.

constexpr int kRows = 6;
constexpr int kPanel = JAXRNN_BYTES == 64 ? 4 : 2;  // vectors: 24 or 12 sums of 32 or 16 registers
constexpr long kDepth = 256;                        // a panel's part that stays in the L1 cache

enum Init { kZero, kBias, kAdd };

template <class T>
struct Packed {
  T* data;
  long depth, vectors;

  long panels() const { return (vectors + kPanel - 1) / kPanel; }
  long width(long panel) const {
    const long left = vectors - panel * kPanel;
    return left < kPanel ? left : kPanel;
  }
  T* panel(long p) const { return data + p * kPanel * lanes<T> * depth; }
  long size() const { return depth * vectors * lanes<T>; }
};

// c [M, N vectors] = init + a [M, depth] @ b [depth, N vectors]; with `Across`, a is [depth, M].
template <class T, int M, int N, bool Across>
INLINE void block(const T* a, long a_stride, const T* b, long b_stride, long depth, T* c,
                  long c_stride, Init init, const T* bias) {
  Vec<T> sum[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      sum[m][n] = init == kBias ? load(bias + n * lanes<T>) : Vec<T>{};
    }
  for (long k = 0; k < depth; ++k) {
    Vec<T> row[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) row[n] = load(b + n * lanes<T>);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec<T> x = splat<T>(Across ? a[m] : a[m * a_stride]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] += x * row[n];
    }
    a += Across ? a_stride : 1;
    b += b_stride;
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      T* to = c + m * c_stride + n * lanes<T>;
      store(to, init == kAdd ? load(to) + sum[m][n] : sum[m][n]);
    }
}

template <class T, int N, bool Across>
__attribute__((noinline)) void blocks(long rows, const T* a, long a_stride, const T* b,
                                      long b_stride, long depth, T* c, long c_stride, Init init,
                                      const T* bias) {
  const long a_step = Across ? 1 : a_stride;
  // Blocks of about the same size: one of a row or two would wait for the weights.
  for (long left = (rows + kRows - 1) / kRows; left > 0; --left) {
    const long taken = (rows + left - 1) / left;
#define JAXRNN_ROWS(M) \
  case M: block<T, M, N, Across>(a, a_stride, b, b_stride, depth, c, c_stride, init, bias); break;
    switch (taken) {
      JAXRNN_ROWS(1) JAXRNN_ROWS(2) JAXRNN_ROWS(3) JAXRNN_ROWS(4) JAXRNN_ROWS(5) JAXRNN_ROWS(6)
    }
#undef JAXRNN_ROWS
    rows -= taken;
    a += taken * a_step;
    c += taken * c_stride;
  }
}

template <class T, bool Across>
INLINE void panel_product(long width, long rows, const T* a, long a_stride, const T* b,
                          long b_stride, long depth, T* c, long c_stride, Init init,
                          const T* bias) {
#define JAXRNN_WIDTH(N) \
  case N: return blocks<T, N, Across>(rows, a, a_stride, b, b_stride, depth, c, c_stride, init, bias);
  switch (width) {
    JAXRNN_WIDTH(1)
    JAXRNN_WIDTH(2)
#if JAXRNN_BYTES == 64
    JAXRNN_WIDTH(3)
    JAXRNN_WIDTH(4)
#endif
  }
#undef JAXRNN_WIDTH
}

// Rows of several steps that go through the same product: `count[i]` rows from row `first[i]` on.
struct Spans {
  const long *first, *count;
  long size;
};

// c = init + a @ w for the rows of all spans; a panel is used for all of them while it is near.
template <class T>
void product(const Spans& spans, const T* a, long a_stride, const Packed<T>& w, T* c,
             long c_stride, Init init, const T* bias) {
  for (long p = 0; p < w.panels(); ++p) {
    const long width = w.width(p), columns = p * kPanel * lanes<T>;
    for (long k = 0; k == 0 || k < w.depth; k += kDepth) {
      const long depth = w.depth - k < kDepth ? w.depth - k : kDepth;
      for (long i = 0; i < spans.size; ++i)
        panel_product<T, false>(width, spans.count[i], a + spans.first[i] * a_stride + k, a_stride,
                                w.panel(p) + k * width * lanes<T>, width * lanes<T>, depth,
                                c + spans.first[i] * c_stride + columns, c_stride,
                                k == 0 ? init : kAdd, bias ? bias + columns : nullptr);
    }
  }
}

template <class T>
INLINE void product(long rows, const T* a, long a_stride, const Packed<T>& w, T* c, long c_stride,
                    Init init, const T* bias) {
  const long first = 0;
  product<T>(Spans{&first, &rows, 1}, a, a_stride, w, c, c_stride, init, bias);
}

// Memory that is aligned to a cache line and not filled.
template <class T>
class Buffer {
 public:
  explicit Buffer(long size) : data_(static_cast<T*>(allocate(size * sizeof(T)))) {}
  ~Buffer() { release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  operator T*() const { return data_; }

 private:
  T* data_;
};
