// The gradients of the weights, summed over the samples of one chunk after another.

template <class T, class Cell>
class WeightGradient {
 public:
  explicit WeightGradient(const Job<T>& job)
      : job(job), dw(direct ? 0 : (D + H) * columns), db(Cell::blocks * stride) {
    clear_row<T>(db, Cell::blocks * stride);
  }

  // dw += a^T dz, a block of rows and a panel of columns at a time, for `samples` rows a = [x, h]
  // and dz of all blocks.
  void add(const T* a, long a_stride, const T* z, long z_stride, long samples, Team& team) {
    const Packed<T> shape{nullptr, D + H, columns / lanes<T>};
    const long heights = (D + H + kHeight - 1) / kHeight;
    team.run(shape.panels() * heights, [&](long i) {
      const long p = i / heights, column = p * kPanel * lanes<T>;
      const long low_row = i % heights * kHeight;
      const long high = low_row + kHeight < D + H ? low_row + kHeight : D + H;
      // The input's rows and the state's meet different columns of dz when a cell has own blocks.
      for (long from = low_row, to; from < high; from = to) {
        to = from < D && high > D ? D : high;
        const T* dz = z + (from < D ? 0 : own * stride) + column;
        for (long n = 0; n < samples; n += kDepth)
          panel_product<T, true>(shape.width(p), to - from, a + n * a_stride + from, a_stride,
                                 dz + n * z_stride, z_stride,
                                 samples - n < kDepth ? samples - n : kDepth, at(from, column),
                                 columns, begun || n ? kAdd : kZero, nullptr);
      }
    });
    team.run(Cell::blocks * stride / lanes<T>, [&](long v) {
      Vec<T> sum = {};
      for (long n = 0; n < samples; ++n) sum += load(z + n * z_stride + v * lanes<T>);
      store(db + v * lanes<T>, load(db + v * lanes<T>) + sum);
    });
    begun = true;
  }

  void write(Team& team) const {
    if (!begun) {
      clear_row(job.dwx, D * G * H);
      clear_row(job.dwh, H * G * H);
    } else if (!direct) {
      team.run(D + H, [&](long k) {
        T* to = k < D ? job.dwx + k * G * H : job.dwh + (k - D) * G * H;
        for (long g = 0; g < G; ++g)
          copy_row(dw + k * columns + g * stride, to + Cell::source[g + (k < D ? 0 : own)] * H, H);
      });
    }
    for (long g = 0; g < G; ++g) {
      copy_row(db + g * stride, job.dbx + Cell::source[g] * H, H);
      if (Cell::has_bh)
        copy_row(db + (g + own) * stride, job.dbh + Cell::source[g + own] * H, H);
    }
  }

 private:
  static constexpr long G = Cell::gates, own = Cell::blocks - Cell::gates;

  const Job<T>& job;
  const long D = job.inputs, H = job.units, stride = whole<T>(H), columns = G * stride;
  // Whether a panel's columns lie together in the result, too.
  const bool direct = stride == H && (own == 0 || H % (kPanel * lanes<T>) == 0);
  Buffer<T> dw, db;  // [D + H, columns] and [blocks]
  bool begun = false;

  T* at(long row, long column) const {
    if (!direct) return dw + row * columns + column;
    const long g = column / H + (row < D ? 0 : own);
    T* to = row < D ? job.dwx + row * columns : job.dwh + (row - D) * columns;
    return to + Cell::source[g] * H + column % H;
  }
};
