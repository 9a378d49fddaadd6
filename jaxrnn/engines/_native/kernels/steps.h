// What both backward passes ask of a row and a step: what was read there, and where it goes.

template <class T, class Cell>
struct Steps {
  static constexpr bool output_is_gate = Cell::blocks == 1;

  const Job<T>& job;
  const long D = job.inputs, H = job.units, S = job.steps, stride = whole<T>(H);

  // The time of the run's step s, and which of an array's rows row r has there.
  long time(long s) const { return job.reverse ? S - 1 - s : s; }
  long at(const long* row, long r, long s) const { return row[r] + time(s) * job.stride; }

  bool is_reset(long r, long s) const {
    return job.resets && job.resets[at(job.reset_row, r, s)];
  }

  // What row r read at step s; null where that was zero.
  const T* h_before(long r, long s) const {
    return before(r, s, job.h0, job.h0_row, job.hs_in, job.hs_row);
  }
  const T* c_before(long r, long s) const {
    return before(r, s, job.c0, job.c0_row, job.cs_in, job.cs_row);
  }

  void copy_padded(const T* from, T* to) const {
    clear_row(to, stride);
    if (from) copy_row(from, to, H);
  }

  // A sample [x, h before], h as it met the weights, and its gates as far as they were kept.
  void gather(long r, long s, T* sample, T* gates) const {
    copy_row(job.xs + at(job.x_row, r, s) * D, sample, D);
    copy_padded(h_before(r, s), sample + D);
    round_row(sample + D, sample + D, stride, job.rounding);
    if (output_is_gate) copy_padded(job.hs_in + at(job.hs_row, r, s) * H, gates);
    for (long g = 0; !output_is_gate && job.gates_in && g < Cell::blocks; ++g)
      copy_padded(job.gates_in + (at(job.gates_row, r, s) * Cell::blocks + g) * H,
                  gates + g * stride);
  }

  // The gradient of the state of row r, from the last step's on, and at the end.
  void begin(long r, T* dh, T* dc) const {
    copy_padded(job.dht + job.dht_row[r] * H, dh + r * stride);
    if (Cell::has_c) copy_padded(job.dct + job.dct_row[r] * H, dc + r * stride);
  }
  void finish(long r, const T* dh, const T* dc) const {
    copy_row(dh + r * stride, job.dh0 + job.state_row[r] * H, H);
    if (Cell::has_c) copy_row(dc + r * stride, job.dc0 + job.state_row[r] * H, H);
  }

  // Stops the gradient of these units at a reset before step s.
  void cut(long r, long s, Units u, T* dh, T* dc) const {
    if (!is_reset(r, s)) return;
    clear_row(dh + r * stride + u.begin, u.end - u.begin);
    if (Cell::has_c) clear_row(dc + r * stride + u.begin, u.end - u.begin);
  }

 private:
  const T* before(long r, long s, const T* initial, const long* initial_row, const T* sequence,
                  const long* sequence_row) const {
    if (is_reset(r, s)) return nullptr;
    if (s == 0 || time(s - 1) >= job.length[r]) return initial + initial_row[r] * H;
    return sequence + at(sequence_row, r, s - 1) * H;
  }
};
