// Vectors of JAXRNN_BYTES bytes, and the two functions of a gate.
//
// Included by kernels.h inside the namespace of one instruction set: nothing here may be a
// template of the standard library, whose instances the linker would share between the sets.

#define INLINE inline __attribute__((always_inline))

typedef float FloatVector __attribute__((vector_size(JAXRNN_BYTES)));
typedef float FloatMemory __attribute__((vector_size(JAXRNN_BYTES), aligned(4), may_alias));
typedef int FloatBits __attribute__((vector_size(JAXRNN_BYTES)));
typedef double DoubleVector __attribute__((vector_size(JAXRNN_BYTES)));
typedef double DoubleMemory __attribute__((vector_size(JAXRNN_BYTES), aligned(8), may_alias));
typedef long long DoubleBits __attribute__((vector_size(JAXRNN_BYTES)));

template <class T>
struct Simd;

template <>
struct Simd<float> {
  using Vector = FloatVector;
  using Memory = FloatMemory;
  using Bits = FloatBits;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float largest = 87.0f;  // exp of it is finite, and normal when inverted
  static constexpr int terms = 7;
};

template <>
struct Simd<double> {
  using Vector = DoubleVector;
  using Memory = DoubleMemory;
  using Bits = DoubleBits;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double magic = 6755399441055744.0;
  static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
  static constexpr double largest = 708.0;
  static constexpr int terms = 13;
};

template <class T>
using Vec = typename Simd<T>::Vector;

template <class T>
constexpr int lanes = JAXRNN_BYTES / sizeof(T);

template <class T>
INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Memory*>(p);
}

template <class T>
INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Simd<T>::Memory*>(p) = v;
}

template <class T>
INLINE Vec<T> splat(T x) {
  return x - Vec<T>{};
}

constexpr double factorial(int n) { return n < 2 ? 1 : n * factorial(n - 1); }

// x = n ln 2 + r with |r| <= ln 2 / 2; `scale` is 2^n and the result e^r - 1, by Taylor's series:
// its first term left out is below half a unit in the last place of r.
template <class T>
INLINE Vec<T> reduced_expm1(Vec<T> x, Vec<T>& scale) {
  using S = Simd<T>;
  const Vec<T> shifted = x * T(1.44269504088896340736) + S::magic;
  const Vec<T> n = shifted - S::magic;
  const Vec<T> r = (x - n * S::ln2_high) - n * S::ln2_low;
  Vec<T> q = splat<T>(T(1 / factorial(S::terms)));
#pragma GCC unroll 16
  for (int k = S::terms - 1; k >= 2; --k) q = q * r + T(1 / factorial(k));
  typename S::Bits one = {};
  one += S::bias;
  // The magic number's own bits leave the word by the shift; those of n stay.
  scale = (Vec<T>)(((typename S::Bits)shifted + one) << S::mantissa);
  return r + r * r * q;
}

// 1 / (1 + e^-x). A NaN stays a NaN: a comparison with it is false.
template <class T>
INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> limit = splat<T>(Simd<T>::largest);
  x = x > limit ? limit : x;
  x = x < -limit ? -limit : x;
  Vec<T> scale;
  const Vec<T> m = reduced_expm1<T>(-x, scale);
  return T(1) / (T(1) + (scale + scale * m));
}

// (e^2a - 1) / (e^2a + 1) for a = |x|, with e^2a - 1 computed as such: right for small x too.
template <class T>
INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> limit = splat<T>(T(20));
  Vec<T> a = x < T(0) ? -x : x;
  a = a > limit ? limit : a;
  Vec<T> scale;
  const Vec<T> m = reduced_expm1<T>(a + a, scale);
  const Vec<T> em = scale * m + (scale - T(1));
  const Vec<T> y = em / (em + T(2));
  return x < T(0) ? -y : y;
}

// Copies n numbers between rows that need not be whole vectors.
template <class T>
INLINE void copy_row(const T* from, T* to, long n) {
  long i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(to + i, load(from + i));
  for (; i < n; ++i) to[i] = from[i];
}

template <class T>
INLINE void clear_row(T* to, long n) {
  long i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(to + i, Vec<T>{});
  for (; i < n; ++i) to[i] = 0;
}

template <class T>
INLINE void add_row(const T* from, T* to, long n) {
  long i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(to + i, load(to + i) + load(from + i));
  for (; i < n; ++i) to[i] += from[i];
}

// Rounds n floats to the nearest that has 16 bits, ties to even. n is whole vectors.
INLINE FloatVector rounded(FloatVector x, Rounding to) {
  const FloatBits bits = (FloatBits)x, sign = bits & int(0x80000000u), size = bits ^ sign;
  const int drop = to == kBfloat16 ? 16 : 13;
  const FloatBits half = ((size >> drop) & 1) + ((1 << (drop - 1)) - 1);
  FloatBits near = (size + half) & -(1 << drop);
  if (to == kFloat16) {
    // Below 2^-14 the step is 2^-24, as that of floats from 0.5 to 1; above 65504 all is infinite.
    const FloatVector small = ((FloatVector)size + 0.5f) - 0.5f;
    near = size < 0x38800000 ? (FloatBits)small : near;
    near = near > 0x477fe000 ? FloatBits{} + 0x7f800000 : near;
  }
  near = size > 0x7f800000 ? size : near;  // a NaN
  return (FloatVector)(near | sign);
}

INLINE void round_row(const float* from, float* to, long n, Rounding rounding) {
  if (rounding == kNone) {
    if (from != to) copy_row(from, to, n);
    return;
  }
  for (long i = 0; i < n; i += lanes<float>) store(to + i, rounded(load(from + i), rounding));
}

INLINE void round_row(const double* from, double* to, long n, Rounding) {
  if (from != to) copy_row(from, to, n);
}
