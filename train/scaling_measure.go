package train

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/adaptflow/adaptflow/internal/usage"
)

// RoundRates are the rates at which a process handles the files of rounds: see [Constants].
type RoundRates struct{ Read, Write, Check, Combine float64 }

// MeasureRounds measures the rates with the session's own parameters, at the start of its first round. Each takes the
// CPU time least, in five parts of which the best counts.
func (s *Session) MeasureRounds(least time.Duration) (r RoundRates, err error) {
	if err := s.atRound(0); err != nil {
		return r, err
	}
	rate := func(f func() (int64, error)) (float64, error) {
		if _, err := f(); err != nil { // the first makes folders and buffers
			return 0, err
		}
		best := 0.0
		for range 5 {
			bytes, start := int64(0), usage.CPU()
			for usage.CPU()-start < least/5 {
				n, err := f()
				if err != nil {
					return 0, err
				}
				bytes += n
			}
			best = max(best, float64(bytes)/(usage.CPU()-start).Seconds())
		}
		return best, nil
	}
	state := filepath.Join(s.job.Dir, roundPath(0), roundFile)
	var ref Ref
	r.Write, err = rate(func() (int64, error) {
		if err := s.saveRound(); err != nil {
			return 0, err
		}
		info, err := os.Stat(state)
		if err != nil {
			return 0, err
		}
		var send [][]float32
		for _, q := range s.trained() {
			send = append(send, slices.Clone(q.Data))
		}
		if ref.Updates, err = s.writeUpdates(0, 0, tally{}, send, nil); err != nil {
			return 0, err
		}
		n := info.Size()
		for _, u := range ref.Updates {
			n += u.Bytes
		}
		return n, nil
	})
	if err != nil {
		return r, err
	}
	r.Read, err = rate(func() (int64, error) {
		info, err := os.Stat(state)
		if err != nil {
			return 0, err
		}
		return info.Size(), s.loadRound(0)
	})
	if err != nil {
		return r, err
	}
	r.Check, err = rate(func() (int64, error) {
		f, err := s.open(ref.Updates[0])
		if err != nil {
			return 0, err
		}
		defer f.Close()
		for _, name := range f.Names() {
			if _, err := f.Bytes(name); err != nil {
				return 0, err
			}
		}
		return ref.Updates[0].Bytes, nil
	})
	if err != nil {
		return r, err
	}
	values := int64(0)
	for _, q := range s.trained() {
		values += int64(len(q.Data))
	}
	s.params.ZeroGrad()
	r.Combine, err = rate(func() (int64, error) {
		_, err := s.sum([]Ref{ref}, 0, s.trained())
		return 4 * values, err
	})
	s.at = -1
	// What is left when the files have been read is decoding and adding.
	r.Combine = 1 / max(1/r.Combine-float64(ref.Updates[0].Bytes)/float64(4*values)/r.Check, 1e-12)
	return r, err
}
