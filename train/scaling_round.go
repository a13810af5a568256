package train

// roundModel computes the parts of a run with n workers: see scaling.go.
type roundModel struct {
	setup  *ScalingSetup
	args   *Args
	c      *Constants
	f      *RoundFiles
	n      int
	local  bool
	shards int
	values int64 // of the parameters
}

// tokens are those of a replica's step.
func (m *roundModel) tokens() int64 {
	return int64(m.args.PerDeviceTrainBatchSize) * int64(m.args.GradientAccumulationSteps) * int64(m.setup.SequenceLength)
}

// read is bytes of files that are read, and again for their checksum.
func (m *roundModel) read(n int64) work { return work{read: n, again: n, cpu: float64(n) / m.c.Read} }

// stand is what a process reads to stand at a round's start. Of a state, the values alone are read again.
func (m *roundModel) stand(step, since, base int) work {
	w := m.read(m.state(step, since, base))
	if step != 0 && step != base {
		w.again = m.f.Values + total(m.f.Shards)
	}
	return w
}

// write is bytes written, and read again for their checksum where they are referred to.
func (m *roundModel) write(n int64) work { return work{sent: n, again: n, cpu: float64(n) / m.c.Write} }

// save is bytes of a round's state written, which nothing refers to.
func (m *roundModel) save(n int64) work { return work{sent: n, cpu: float64(n) / m.c.Write} }

// wall is how long so many processes take that each do w at once: their CPU time, or longer where the storage is slower.
func (m *roundModel) wall(w work, processes int) float64 {
	t, bytes := w.cpu, float64(w.sent+w.read)
	if s := m.c.Storage; s > 0 {
		t = max(t, bytes/s)
	}
	if s := m.c.StorageAll; s > 0 {
		t = max(t, bytes*float64(processes)/s)
	}
	return t
}

// compute is the time of steps of one worker.
func (m *roundModel) compute(steps int) float64 {
	return float64(steps) * float64(m.tokens()) * m.setup.FLOPs / m.c.FLOPS
}

func (m *roundModel) packing(steps, replicas int) float64 {
	return float64(steps) * float64(m.tokens()) * float64(replicas) / m.c.Pack
}

// plain is steps of one worker without rounds.
func (m *roundModel) plain(steps int) work {
	return work{cpu: m.compute(steps) + m.packing(steps, 1)}
}

// state is what a worker reads to stand at a round's start: nothing before the first, a checkpoint's files where there is one, else the
// state of the round before, with the log since the last checkpoint and what shards hold.
func (m *roundModel) state(step, since, base int) int64 {
	switch {
	case step == 0:
		return 0
	case step == base:
		return m.f.Trainable + m.f.Optimizer
	}
	return m.f.State + int64(since)*m.f.Log + total(m.f.Shards)
}

// round is a round of steps that starts at step, since rounds after the checkpoint at base: the work of each worker, of the driver, and the
// round's cost.
func (m *roundModel) round(steps, step, since, base int) (worker, driver work, r RoundCost) {
	stand := m.stand(step, since, base)
	kept := m.f.Kept
	if step == 0 {
		kept = 0
	}
	var transfer work
	transfer.add(1, stand)
	transfer.add(1, m.read(kept))
	transfer.add(1, m.write(m.f.Update()+m.f.Kept))
	replicas := m.n
	if m.local {
		replicas = 1
	}
	r.Compute, r.Pack, r.Transfer = m.compute(steps), m.packing(steps, replicas), m.wall(transfer, m.n)
	worker = transfer
	worker.cpu += r.Compute + r.Pack

	next := m.f.State + int64(since+1)*m.f.Log
	float := 4 * m.values
	add := work{read: int64(m.n) * m.f.Update(), again: int64(m.n) * m.f.Update(),
		cpu: float64(m.n) * (float64(m.f.Update())/m.c.Check + float64(float)/m.c.Combine)}
	if m.shards > 1 {
		driver, r.Combine = m.sharded(step, base, next, add)
	} else {
		driver = add
		driver.add(1, m.save(next))
		r.Combine = m.wall(driver, 1)
	}
	r.Overhead = m.c.Sync + m.c.Round + float64(m.n)*m.c.Replica
	r.Seconds = r.Compute + r.Pack + r.Transfer + r.Combine + r.Overhead
	r.Sent, r.Read = int64(m.n)*worker.sent+driver.sent, int64(m.n)*worker.read+driver.read
	return worker, driver, r
}

// sharded is the driver's part of a round whose optimiser is sharded: the work of all who share it, and the time it takes.
func (m *roundModel) sharded(step, base int, next int64, add work) (all work, seconds float64) {
	at := min(m.shards, m.n)
	waves := float64((m.shards + at - 1) / at)
	largestUpdate, sums, shards := float64(largest(m.f.Updates))/float64(max(1, m.f.Update())), largest(m.f.Sums), largest(m.f.Shards)
	// reduce
	one := work{read: int64(float64(add.read) * largestUpdate), cpu: add.cpu * largestUpdate}
	one.add(1, m.write(sums))
	seconds += waves * m.wall(one, at)
	all.add(1, add)
	all.add(1, m.write(total(m.f.Sums)))
	// apply
	old, oldest := total(m.f.Shards), shards
	switch step {
	case 0:
		old, oldest = 0, 0
	case base:
		old, oldest = m.f.Optimizer, largest(m.f.Shards)
	}
	one = m.read(sums + oldest)
	one.add(1, m.write(shards))
	seconds += waves * m.wall(one, at)
	all.add(1, m.read(total(m.f.Sums)+old))
	all.add(1, m.write(total(m.f.Shards)))
	// gather
	one = m.read(total(m.f.Shards))
	one.add(1, m.save(next))
	seconds += m.wall(one, 1)
	all.add(1, one)
	return all, seconds
}

// checkpoint is a checkpoint after so many rounds, or steps of one worker: the work of the process that writes it, and the time it takes.
// What replicas keep is copied.
func (m *roundModel) checkpoint(rounds, steps int) (work, float64) {
	w := m.write(m.f.Trainable + m.f.Optimizer)
	if m.n > 1 {
		w.add(1, m.read(int64(m.n)*m.f.Kept+total(m.f.Shards)))
		w.add(1, m.write(int64(m.n)*m.f.Kept))
		w.again += int64(m.n) * m.f.keptHeader
	}
	w.add(1, m.save(int64(max(rounds, steps))*m.f.Log))
	return w, m.wall(w, 1) + m.c.Sync
}

// workerMemory is the peak of a worker's process: weights, program and optimiser as of one replica, and the buffers of a round. Local: the
// outer momentum, the values at the round's start; lossy: what compression lost. The greatest of reading the state (its tensors are in
// memory until they are checked) and of writing the update (encoded whole).
func (m *roundModel) workerMemory() int64 {
	n := m.base() + m.setup.Program
	if m.n == 1 {
		return n
	}
	w := 4 * m.values
	send := m.f.Update()
	if m.local {
		n += w // outer momentum
		send += w
	}
	if m.args.Compression != "" && m.args.Compression != "none" {
		send += w
	}
	return n + max(send, m.f.State+total(m.f.Shards), m.f.Kept)
}

// driverMemory is the peak of a process that only combines: its program's activations are never touched.
func (m *roundModel) driverMemory() int64 {
	w := 4 * m.values
	n := m.base() + 2*w
	if m.local {
		n += w
	}
	return n + max(m.f.State, 2*w, largest(m.f.Shards)+largest(m.f.Sums))
}

func (m *roundModel) base() int64 {
	return m.setup.Weights + m.c.Memory + HeldOptimizerBytes(m.args, m.setup.Params)
}
