// The backward pass of a few rows: every thread has its own units, of all rows, and the threads
// meet after each step. A step's gradient of the state is the product of the later step's dz.

template <class T, class Cell>
class FewBackward {
 public:
  explicit FewBackward(const Job<T>& job)
      : job(job),
        copy_x(packs && !recomputes ? 0 : plain_size<T, Cell>(D, H)),
        copy_h(packs && !recomputes ? 0 : plain_size<T, Cell>(H, H)),
        packed(packs ? (stride + x_stride) * G * stride : 0),
        bias(Cell::blocks * stride),
        a(R * chunk * a_stride),
        z(R * chunk * z_stride),
        dh(R * stride),
        dc(Cell::has_c ? R * stride : 0),
        dx(R * chunk * x_stride),
        xs(R * chunk),
        dxs(R * chunk),
        gradient(job) {}

  void run(Team& team) {
    if (!packs || recomputes) {
      wx = plain<T, Cell>(job.wx, D, H, copy_x);
      wh = plain<T, Cell>(job.wh, H, H, copy_h);
    }
    pack_bias<T, Cell>(job, bias);
    begin();
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
    finish();
    gradient.write(team);
  }

 private:
  static constexpr long G = Cell::gates, own = Cell::blocks - Cell::gates;
  static constexpr bool output_is_gate = Cell::blocks == 1;

  const Job<T>& job;
  const long D = job.inputs, H = job.units, S = job.steps, R = job.rows;
  const long stride = whole<T>(H), z_stride = Cell::blocks * stride + lanes<T>;
  const long a_stride = D + stride + lanes<T>;
  const long x_stride = whole<T>(D);
  const bool recomputes = !job.gates_in && !output_is_gate, packs = S >= kPackSteps;
  const long chunk = chunk_steps();

  Buffer<T> copy_x, copy_h, packed, bias;
  Buffer<T> a, z;    // the chunk's samples: [x, h before], and gates, then dz
  Buffer<T> dh, dc;  // [R, stride]
  Buffer<T> dx;      // of the samples
  Buffer<const T*> xs;
  Buffer<T*> dxs;
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

  long time(long s) const { return job.reverse ? S - 1 - s : s; }

  bool is_reset(long r, long t) const {
    return job.resets && job.resets[job.reset_row[r] + t * job.stride];
  }

  // What row r read at step s, h or c; null where that was zero.
  const T* before(long r, long s, const T* initial, const long* initial_row, const T* sequence,
                  const long* sequence_row) const {
    if (is_reset(r, time(s))) return nullptr;
    if (s == 0 || time(s - 1) >= job.length[r]) return initial + initial_row[r] * H;
    return sequence + (sequence_row[r] + time(s - 1) * job.stride) * H;
  }

  void copy_padded(const T* from, T* to) const {
    clear_row(to, stride);
    if (from) copy_row(from, to, H);
  }

  void begin() {
    for (long r = 0; r < R; ++r) {
      copy_padded(job.dht + job.dht_row[r] * H, dh + r * stride);
      if (Cell::has_c) copy_padded(job.dct + job.dct_row[r] * H, dc + r * stride);
    }
  }

  void finish() const {
    for (long r = 0; r < R; ++r) {
      copy_row(dh + r * stride, job.dh0 + job.state_row[r] * H, H);
      if (Cell::has_c) copy_row(dc + r * stride, job.dc0 + job.state_row[r] * H, H);
    }
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

  // Where the chunk's samples lie.
  void plan() {
    samples = 0;
    for (long k = 0; k < steps; ++k) {
      const long t = time(low + k);
      first[k] = samples;
      count[k] = running(job, {0, R}, t);
      for (long r = 0; r < count[k]; ++r, ++samples) {
        xs[samples] = job.xs + (job.x_row[r] + t * job.stride) * D;
        dxs[samples] = job.dxs + (job.seq_row[r] + t * job.stride) * D;
      }
    }
  }

  void gather(long r) const {
    for (long k = 0; k < steps; ++k) {
      const long s = low + k, t = time(s), n = first[k] + r;
      if (r >= count[k]) {
        clear_row(job.dxs + (job.seq_row[r] + t * job.stride) * D, D);
        continue;
      }
      T *to = a + n * a_stride, *gate = z + n * z_stride;
      copy_row(xs[n], to, D);
      copy_padded(before(r, s, job.h0, job.h0_row, job.hs_in, job.hs_row), to + D);
      round_row(to + D, to + D, stride, job.rounding);
      if (output_is_gate) copy_padded(job.hs_in + (job.hs_row[r] + t * job.stride) * H, gate);
      for (long g = 0; !output_is_gate && job.gates_in && g < Cell::blocks; ++g)
        copy_padded(
            job.gates_in + ((job.gates_row[r] + t * job.stride) * Cell::blocks + g) * H,
            gate + g * stride);
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
    for (long r = 0; job.resets && r < count[k]; ++r) {
      if (!is_reset(r, time(low + k))) continue;
      clear_row(dh + r * stride + u.begin, u.end - u.begin);
      if (Cell::has_c) clear_row(dc + r * stride + u.begin, u.end - u.begin);
    }
  }

  void gate_gradients(long k, Units u, T* scratch) const {
    const long s = low + k, t = time(s), width = u.end - u.begin;
    const long real = (u.end < H ? u.end : H) - u.begin;
    // These units of what row r read, with zeros up to a whole vector.
    const auto units_before = [&](const T* row, T* to) -> const T* {
      if (row && real == width) return row + u.begin;
      clear_row(to, width);
      if (row) copy_row(row + u.begin, to, real);
      return to;
    };
    for (long r = 0; r < count[k]; ++r) {
      T *zr = z + (first[k] + r) * z_stride + u.begin, *d = dh + r * stride + u.begin;
      add_row(job.dhs + (job.dhs_row[r] + t * job.stride) * H + u.begin, d, real);
      const T *h = nullptr, *c = nullptr;
      T* dcr = nullptr;
      if (Cell::direct)
        h = units_before(before(r, s, job.h0, job.h0_row, job.hs_in, job.hs_row), scratch);
      if (Cell::has_c) {
        c = units_before(before(r, s, job.c0, job.c0_row, job.cs_in, job.cs_row),
                         scratch + stride + kLine);
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
    for (long n = 0; n < samples; ++n)
      copy_row(dx + n * x_stride + d.begin, dxs[n] + d.begin, end - d.begin);
  }
};
