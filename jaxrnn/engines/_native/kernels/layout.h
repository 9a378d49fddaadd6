// Weights as the kernels want them.

template <class T>
constexpr long whole(long n) {  // n rounded up to whole vectors
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

// A range of units, in whole vectors.
struct Units {
  long begin, end;
};

// The rows [row, row + depth) of [wx; wh], and of their columns these units of the cell's blocks
// [block, end).
template <class T, class Cell>
void pack_panel(const Job<T>& job, Units units, long row, long block, const Packed<T>& to,
                long p) {
  const long H = job.units, width = units.end - units.begin, columns = Cell::gates * H;
  T* out = to.panel(p);
  for (long k = 0; k < to.depth; ++k) {
    const long r = row + k;
    const T* w = r < job.inputs ? job.wx + r * columns : job.wh + (r - job.inputs) * columns;
    for (long v = 0; v < to.width(p); ++v, out += lanes<T>) {
      const long column = (p * kPanel + v) * lanes<T>, unit = units.begin + column % width;
      const T* from = w + Cell::source[block + column / width] * H + unit;
      if (unit + lanes<T> <= H) store(out, load(from));
      else
        for (long l = 0; l < lanes<T>; ++l) out[l] = unit + l < H ? from[l] : T(0);
    }
  }
}

// The rows of w [n, gates * H] from `low` on, transposed: its depth is the cell's blocks
// [block, block + gates).
template <class T, class Cell>
void pack_transposed(const T* w, long low, long n, long H, long block, const Packed<T>& to,
                     long p) {
  const long stride = whole<T>(H), columns = Cell::gates * H, width = to.width(p) * lanes<T>;
  for (long q = 0; q < to.depth; q += lanes<T>) {
    const long unit = q % stride, source = Cell::source[block + q / stride] * H;
    for (long j = 0; j < width; ++j) {
      const long row = low + p * kPanel * lanes<T> + j;
      T* out = to.panel(p) + q * width + j;
      for (long l = 0; l < lanes<T>; ++l)
        out[l * width] = row < n && unit + l < H ? w[row * columns + source + unit + l] : T(0);
    }
  }
}

template <class T, class Cell>
void pack_bias(const Job<T>& job, T* to) {
  const long H = job.units, stride = whole<T>(H);
  for (int b = 0; b < Cell::blocks; ++b)
    for (long u = 0; u < stride; ++u) {
      const long column = Cell::source[b] * H + u;
      const bool of_input = b < Cell::gates, of_state = b >= Cell::blocks - Cell::gates;
      T sum = 0;
      if (u < H && of_input) sum += job.bx[column];
      if (u < H && of_state && Cell::has_bh) sum += job.bh[column];
      to[b * stride + u] = sum;
    }
}

// One product of the rows [x, h]: `depth` of their columns from `from` on give the blocks from
// `block` on.
template <class T>
struct Term {
  long from, block;
  Init init;
  Packed<T> w;
};

// The pre-activations of a row, as few products as there are: everything at once where the input
// is at hand with the state; or those of the input first, for many steps at once, as long as the
// weights are too large to stay near.
template <class T, class Cell>
struct Weights {
  int terms = 0, of_input = 0;  // terms [0, of_input) meet the input only
  Term<T> term[4];

  Weights(const Job<T>& job, bool split) {
    const long D = job.inputs, H = job.units, G = Cell::gates, B = Cell::blocks, own = B - G;
    if (split) {
      add(job, 0, 0, D, G, kBias);
      of_input = 1;
      add(job, D, own, H, G - own, kAdd);
      if (own) add(job, D, G, H, own, kBias);
    } else {
      if (own) add(job, 0, 0, D, own, kBias);
      add(job, 0, own, D + H, G - own, kBias);
      if (own) add(job, D, G, H, own, kBias);
    }
  }

  long size() const {
    long sum = 0;
    for (int i = 0; i < terms; ++i) sum += term[i].w.size();
    return sum;
  }

  void pack(const Job<T>& job, T* memory, Team& team) {
    for (int i = 0; i < terms; ++i) {
      Term<T>& t = term[i];
      t.w.data = memory;
      memory += t.w.size();
      const Units all{0, whole<T>(job.units)};
      team.run(t.w.panels(),
               [&](long p) { pack_panel<T, Cell>(job, all, t.from, t.block, t.w, p); });
    }
  }

 private:
  void add(const Job<T>& job, long from, long block, long depth, long blocks, Init init) {
    term[terms++] = {from, block, init, {nullptr, depth, blocks * whole<T>(job.units) / lanes<T>}};
  }
};

// A part of the rows, for one thread at a time; parts hold about the same number of steps.
struct Part {
  long begin, end;
};

template <class T>
long cut(const Job<T>& job, long parts, Part* part) {
  long total = 0, sum = 0, row = 0, made = 0;
  for (long r = 0; r < job.rows; ++r) total += job.length[r] + 1;
  for (long i = 0; i < parts; ++i) {
    const long begin = row;
    while (row < job.rows && (sum + (job.length[row] + 1) / 2) * parts < total * (i + 1))
      sum += job.length[row++] + 1;
    if (i + 1 == parts) row = job.rows;
    if (row > begin) part[made++] = {begin, row};
  }
  return made;
}

// How many of the part's rows run at step t: they are sorted by length.
template <class T>
INLINE long running(const Job<T>& job, Part part, long t) {
  long end = part.end;
  while (end > part.begin && job.length[end - 1] <= t) --end;
  return end - part.begin;
}
