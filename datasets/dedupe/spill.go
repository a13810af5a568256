package dedupe

import (
	"encoding/binary"
	"fmt"
)

// output is a run that a task has written: what the task after the next barrier needs to know to plan, so that nobody opens it for that.
type output struct {
	Path    string `json:"path"`
	Records int64  `json:"records"`
	// Sections are the records of each section, of runs of keys only.
	Sections []int64 `json:"sections,omitempty"`
	// Sample are the first 8 bytes of every Every-th record, of the first section of runs of keys.
	Sample []byte `json:"sample,omitempty"`
	Every  int64  `json:"every,omitempty"`
	// Lo and Hi are the bounds of a file of removals.
	Lo []byte `json:"lo,omitempty"`
	Hi []byte `json:"hi,omitempty"`
}

// samples is how many records of a run a sample has about.
const samples = 64

// sampler takes a sample of so many records that come.
type sampler struct {
	out  *output
	seen int64
}

func sample(out *output, records int64) sampler {
	out.Every = max(1, records/samples)
	return sampler{out: out}
}

func (s *sampler) see(rec []byte) {
	if s.seen%s.out.Every == 0 {
		s.take(rec)
	}
	s.seen++
}

func (s *sampler) take(rec []byte) {
	s.out.Sample = binary.BigEndian.AppendUint64(s.out.Sample, prefix(rec))
}

// spill gathers records in sections, in any order, and writes them as runs, one each time that it holds as much as it may. Without records
// it writes none.
type spill struct {
	prefix   string // of the paths
	width    int
	sections [][]byte
	held     int
	most     int
	sampled  bool
	out      []output
}

func (p *Plan) spill(prefix string, width, sections int) *spill {
	return &spill{prefix: prefix, width: width, sections: make([][]byte, sections), most: p.Limits.SpillBytes}
}

// added is called after a record was appended to a section.
func (s *spill) added() error {
	if s.held += s.width; s.held >= s.most {
		return s.flush()
	}
	return nil
}

func (s *spill) flush() error {
	if s.held == 0 {
		return nil
	}
	o := output{Path: fmt.Sprintf("%s-%04d.run", s.prefix, len(s.out)), Records: int64(s.held / s.width)}
	if err := WriteRun(o.Path, s.width, s.sections); err != nil {
		return err
	}
	if s.sampled {
		take := sample(&o, int64(len(s.sections[0])/s.width))
		for i := 0; i < len(s.sections[0]); i += s.width {
			take.see(s.sections[0][i:])
		}
	}
	for i := range s.sections {
		s.sections[i] = s.sections[i][:0]
	}
	s.held = 0
	s.out = append(s.out, o)
	return nil
}

// close writes what is left and returns all runs.
func (s *spill) close() ([]output, error) {
	err := s.flush()
	return s.out, err
}
