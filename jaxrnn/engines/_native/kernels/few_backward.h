// The backward pass of a few rows: every thread has its own units, of all rows, and the threads
// meet after each step. A step's gradient of the state is the product of the later step's dz.

template <class T, class Cell>
class FewBackward {
 public:
  explicit FewBackward(const Job<T>& job)
      : job(job),
        row{job},
        copy_x(packs && !recomputes ? 0 : plain_size<T, Cell>(D, H)),
        copy_h(packs && !recomputes ? 0 : plain_size<T, Cell>(H, H)),
        packed(packs ? (stride + x_stride) * G * stride : 0),
        bias(Cell::blocks * stride),
        a(R * chunk * a_stride),
        z(R * chunk * z_stride),
        dh(R * stride),
        dc(Cell::has_c ? R * stride : 0),
        dx(R * chunk * x_stride),
        gradient(job) {}

  void run(Team& team) {
    if (!packs || recomputes) {
      wx = plain<T, Cell>(job.wx, D, H, copy_x);
      wh = plain<T, Cell>(job.wh, H, H, copy_h);
    }
    pack_bias<T, Cell>(job, bias);
    for (long r = 0; r < R; ++r) row.begin(r, dh, dc);
    const long parts = unit_parts(job, (D + H) * Cell::gates * H * long(sizeof(T)), team);
    Buffer<T> scratch(parts * 2 * (stride + kLine));
    for (long end = S; end > 0; end -= steps) {
      steps = end < chunk ? end : chunk;
      low = end - steps;
      plan();
      team.run(R, [&](long r) { gather(r); });
      for (long k = steps - 1; k >= 0; --k)
        team.run_steady(parts, [&](long p) {
          const Units u = units_of<T>(H, parts, p);
          if (packs && low + k == S - 1) pack(u, units_of<T>(D, parts, p));
          if (k == steps - 1 && recomputes) recompute(u);
          if (k < steps - 1) carry(k + 1, u);
          gate_gradients(k, u, scratch + p * 2 * (stride + kLine));
        });
      team.run_steady(parts, [&](long p) {
        carry(0, units_of<T>(H, parts, p));
        inputs(units_of<T>(D, parts, p));
      });
      if (samples) gradient.add(a, a_stride, z, z_stride, samples, team);
    }
    for (long r = 0; r < R; ++r) row.finish(r, dh, dc);
    gradient.write(team);
  }

 private:
  static constexpr long G = Cell::gates, own = Cell::blocks - Cell::gates;

  const Job<T>& job;
  const Steps<T, Cell> row;
  const long D = job.inputs, H = job.units, S = job.steps, R = job.rows;
  const long stride = whole<T>(H), z_stride = Cell::blocks * stride + lanes<T>;
  const long a_stride = D + stride + lanes<T>;
  const long x_stride = whole<T>(D);
  const bool recomputes = !job.gates_in && !row.output_is_gate, packs = S >= kPackSteps;
  const long chunk = chunk_steps();

  Buffer<T> copy_x, copy_h, packed, bias;
  Buffer<T> a, z;    // the chunk's samples: [x, h before], and gates, then dz
  Buffer<T> dh, dc;  // [R, stride]
  Buffer<T> dx;      // of the samples
  Plain<T> wx, wh;
  WeightGradient<T, Cell> gradient;
  long low = 0, steps = 0, samples = 0;
  long first[kFewSteps], count[kFewSteps];

  long chunk_steps() const {
    const long bytes = R * (D + stride + z_stride) * long(sizeof(T));
    long fit = bytes ? kChunkBytes / bytes : 1;
    if (fit > kFewSteps) fit = kFewSteps;
    if (fit > S) fit = S;
    return fit < 1 ? 1 : fit;
  }

  // The weights of the state transposed, of these units; and those of the input.
  Packed<T> panels_h(Units u) const {
    return {packed + u.begin * G * stride, G * stride, (u.end - u.begin) / lanes<T>};
  }
  Packed<T> panels_x(Units d) const {
    return {packed + (stride + d.begin) * G * stride, G * stride, (d.end - d.begin) / lanes<T>};
  }

  void pack(Units u, Units d) const {
    const Packed<T> of_h = panels_h(u), of_x = panels_x(d);
    for (long p = 0; p < of_h.panels(); ++p)
      pack_transposed<T, Cell>(job.wh, u.begin, H, H, own, of_h, p);
    for (long p = 0; p < of_x.panels(); ++p)
      pack_transposed<T, Cell>(job.wx, d.begin, D, H, 0, of_x, p);
  }

  // Where the samples of the chunk's steps begin, and how many each has.
  void plan() {
    samples = 0;
    for (long k = 0; k < steps; ++k) {
      first[k] = samples;
      count[k] = running(job, {0, R}, row.time(low + k));
      samples += count[k];
    }
  }

  void gather(long r) const {
    for (long k = 0; k < steps; ++k) {
      const long n = first[k] + r;
      if (r < count[k]) row.gather(r, low + k, a + n * a_stride, z + n * z_stride);
      else clear_row(job.dxs + row.at(job.seq_row, r, low + k) * D, D);
    }
  }

  void recompute(Units u) const {
    const long width = u.end - u.begin;
    for (long b = 0; b < Cell::blocks; ++b) {
      T* const to = z + b * stride + u.begin;
      const long column = Cell::source[b];
      for (long n = 0; n < samples; ++n)
        copy_row(bias + b * stride + u.begin, to + n * z_stride, width);
      if (b < G)
        add_product<T>(samples, a, a_stride, D, wx.data + column * wx.block + u.begin, wx.row, to,
                       z_stride, width);
      if (b >= own)
        add_product<T>(samples, a + D, a_stride, H, wh.data + column * wh.block + u.begin, wh.row,
                       to, z_stride, width);
    }
  }

  // The gradient of the state before step k, of these units.
  void carry(long k, Units u) const {
    const T* const dz = z + first[k] * z_stride + own * stride;
    if (packs)
      product<T>(count[k], dz, z_stride, panels_h(u), dh + u.begin, stride,
                 Cell::direct ? kAdd : kZero, nullptr);
    else
      dot_product<T>(count[k], dz, z_stride, stride, G, Cell::source + own, wh, u.begin,
                     u.end < H ? u.end : H, dh, stride, Cell::direct);
    for (long r = 0; job.resets && r < count[k]; ++r) row.cut(r, low + k, u, dh, dc);
  }

  void gate_gradients(long k, Units u, T* scratch) const {
    const long s = low + k, width = u.end - u.begin;
    const long real = (u.end < H ? u.end : H) - u.begin;
    // These units of what row r read, with zeros up to a whole vector.
    const auto padded = [&](const T* from, T* to) -> const T* {
      if (from && real == width) return from + u.begin;
      clear_row(to, width);
      if (from) copy_row(from + u.begin, to, real);
      return to;
    };
    for (long r = 0; r < count[k]; ++r) {
      T *zr = z + (first[k] + r) * z_stride + u.begin, *d = dh + r * stride + u.begin;
      add_row(job.dhs + row.at(job.dhs_row, r, s) * H + u.begin, d, real);
      const T *h = nullptr, *c = nullptr;
      T* dcr = nullptr;
      if (Cell::direct) h = padded(row.h_before(r, s), scratch);
      if (Cell::has_c) {
        c = padded(row.c_before(r, s), scratch + stride + kLine);
        dcr = dc + r * stride + u.begin;
      }
      if (recomputes) Cell::template backward<T, false>(zr, stride, width, h, c, d, dcr);
      else Cell::template backward<T, true>(zr, stride, width, h, c, d, dcr);
    }
  }

  void inputs(Units d) const {
    const long end = d.end < D ? d.end : D;
    if (packs)
      product<T>(samples, z, z_stride, panels_x(d), dx + d.begin, x_stride, kZero, nullptr);
    else
      dot_product<T>(samples, z, z_stride, stride, G, Cell::source, wx, d.begin, end, dx, x_stride,
                     false);
    for (long k = 0; k < steps; ++k)
      for (long r = 0; r < count[k]; ++r)
        copy_row(dx + (first[k] + r) * x_stride + d.begin,
                 job.dxs + row.at(job.seq_row, r, low + k) * D + d.begin, end - d.begin);
  }
};
