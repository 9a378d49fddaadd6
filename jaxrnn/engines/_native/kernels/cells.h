// The cells: the update of one row and its gradient.
//
// A row of pre-activations z has `blocks` blocks of `stride` numbers (the units, rounded up to
// whole vectors), of which `units` are updated. The first `gates` blocks meet the input, the last
// `gates` the state: GRU's candidate has a part of each, with the reset gate between them. `source`
// names the block of the packed weights that a block comes from.
//
// forward: z -> the gates (kept in z when `Keep`), h and c updated in place.
// backward: z -> dz, in place. dh comes in as the gradient of h and goes out as the part that
// reaches the state before without passing the weights; dc goes over to the state before.
// `Stored` says that z holds the gates and not the pre-activations.

struct Rnn {
  static constexpr int gates = 1, blocks = 1;
  static constexpr bool has_c = false, has_bh = false, direct = false;
  static constexpr int source[1] = {0};

  template <class T, bool Keep>
  static INLINE void forward(T* z, long stride, long units, T* h, T*) {
    for (long u = 0; u < units; u += lanes<T>) {
      const Vec<T> y = tanh<T>(load(z + u));
      store(h + u, y);
      if (Keep) store(z + u, y);
    }
  }

  template <class T, bool Stored>
  static INLINE void backward(T* z, long stride, long units, const T*, const T*, T* dh, T*) {
    for (long u = 0; u < units; u += lanes<T>) {
      const Vec<T> y = Stored ? load(z + u) : tanh<T>(load(z + u));
      store(z + u, load(dh + u) * (T(1) - y * y));
    }
  }
};

struct Relu {  // an Rnn whose activation is max(z, 0), with the slope 0 at 0; a NaN stays a NaN
  static constexpr int gates = 1, blocks = 1;
  static constexpr bool has_c = false, has_bh = false, direct = false;
  static constexpr int source[1] = {0};

  template <class T, bool Keep>
  static INLINE void forward(T* z, long, long units, T* h, T*) {
    for (long u = 0; u < units; u += lanes<T>) {
      const Vec<T> x = load(z + u), y = x < T(0) ? Vec<T>{} : x;
      store(h + u, y);
      if (Keep) store(z + u, y);
    }
  }

  template <class T, bool>
  static INLINE void backward(T* z, long, long units, const T*, const T*, T* dh, T*) {
    for (long u = 0; u < units; u += lanes<T>)
      store(z + u, load(z + u) > T(0) ? load(dh + u) : Vec<T>{});
  }
};

struct Lstm {
  static constexpr int gates = 4, blocks = 4;
  static constexpr bool has_c = true, has_bh = false, direct = false;
  static constexpr int source[4] = {0, 1, 2, 3};

  template <class T, bool Keep>
  static INLINE void forward(T* z, long stride, long units, T* h, T* c) {
    for (long u = 0; u < units; u += lanes<T>) {
      const Vec<T> i = sigmoid<T>(load(z + u)), f = sigmoid<T>(load(z + stride + u));
      const Vec<T> g = tanh<T>(load(z + 2 * stride + u)), o = sigmoid<T>(load(z + 3 * stride + u));
      const Vec<T> after = f * load(c + u) + i * g;
      store(c + u, after);
      store(h + u, o * tanh<T>(after));
      if (Keep) {
        store(z + u, i), store(z + stride + u, f);
        store(z + 2 * stride + u, g), store(z + 3 * stride + u, o);
      }
    }
  }

  template <class T, bool Stored>
  static INLINE void backward(T* z, long stride, long units, const T*, const T* c, T* dh, T* dc) {
    for (long u = 0; u < units; u += lanes<T>) {
      Vec<T> i = load(z + u), f = load(z + stride + u);
      Vec<T> g = load(z + 2 * stride + u), o = load(z + 3 * stride + u);
      if (!Stored) i = sigmoid<T>(i), f = sigmoid<T>(f), g = tanh<T>(g), o = sigmoid<T>(o);
      const Vec<T> before = load(c + u), y = tanh<T>(f * before + i * g);
      const Vec<T> d = load(dh + u), k = load(dc + u) + d * o * (T(1) - y * y);
      store(z + u, k * g * i * (T(1) - i));
      store(z + stride + u, k * before * f * (T(1) - f));
      store(z + 2 * stride + u, k * i * (T(1) - g * g));
      store(z + 3 * stride + u, d * y * o * (T(1) - o));
      store(dc + u, k * f);
    }
  }
};

struct Gru {  // blocks: the candidate's part of the input, r, z, its part of the state
  static constexpr int gates = 3, blocks = 4;
  static constexpr bool has_c = false, has_bh = true, direct = true;
  static constexpr int source[4] = {2, 0, 1, 2};

  template <class T, bool Keep>
  static INLINE void forward(T* z, long stride, long units, T* h, T*) {
    for (long u = 0; u < units; u += lanes<T>) {
      const Vec<T> r = sigmoid<T>(load(z + stride + u)), s = sigmoid<T>(load(z + 2 * stride + u));
      const Vec<T> n = tanh<T>(load(z + u) + r * load(z + 3 * stride + u));
      store(h + u, (T(1) - s) * n + s * load(h + u));
      if (Keep) store(z + u, n), store(z + stride + u, r), store(z + 2 * stride + u, s);
    }
  }

  template <class T, bool Stored>
  static INLINE void backward(T* z, long stride, long units, const T* h, const T*, T* dh, T*) {
    for (long u = 0; u < units; u += lanes<T>) {
      Vec<T> n = load(z + u), r = load(z + stride + u), s = load(z + 2 * stride + u);
      const Vec<T> part = load(z + 3 * stride + u);
      if (!Stored) r = sigmoid<T>(r), s = sigmoid<T>(s), n = tanh<T>(n + r * part);
      const Vec<T> d = load(dh + u), dn = d * (T(1) - s) * (T(1) - n * n);
      store(z + u, dn);
      store(z + stride + u, dn * part * r * (T(1) - r));
      store(z + 2 * stride + u, d * (load(h + u) - n) * s * (T(1) - s));
      store(z + 3 * stride + u, dn * r);
      store(dh + u, d * s);
    }
  }
};
