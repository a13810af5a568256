package dedupe

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Ranges of keys are merged from all runs that have any of them. Of up to Limits.Fan runs each range opens all, which is the fastest. More
// are first gathered, up to Limits.Fan to one sorted run, to at least gathered runs, so that there is work for several machines. If there
// are then still more than Limits.Fan, which is beyond 65536, these are spread: of each Limits.Fan of them a coarse range of keys, of which
// there are Limits.Fan in all sections, is merged to a run, so that a range of keys opens one run for every 65536. With G runs and R ranges
// the opens are at most
//
//	256·R                        G ≤ 256
//	G + R·max(16, G/256)         G ≤ 65536
//	3·G + R·⌈G/65536⌉            beyond
//
// and R is at most that many of Limits.RangeRecords, and at most maxRanges.

// gathered is how many runs are left at least where runs are gathered.
const gathered = 16

// IndexList is the file in a plan's folder with the paths of an earlier index's runs, a JSON list.
const IndexList = "index-runs.json"

// WriteIndexList writes the paths of an earlier index's runs for the tasks of a plan.
func (p *Plan) WriteIndexList(runs []string) error {
	return storage.WriteFile(storage.Join(p.Dir, IndexList), []byte(encode(runs)))
}

func beginGather(p *Plan, _ Step, before []done) ([]task, error) {
	all, _ := collect(before, func(d *done) []output { return d.Runs })
	runs := paths(all)
	if p.Index {
		b, err := storage.ReadFile(storage.Join(p.Dir, IndexList))
		if err != nil {
			return nil, err
		}
		var index []string
		if err := json.Unmarshal(b, &index); err != nil {
			return nil, fmt.Errorf("%s: %w", IndexList, err)
		}
		runs = slices.Concat(runs, index)
	}
	size := 1
	if len(runs) > p.Limits.Fan {
		to := max(min(gathered, p.Limits.Fan), (len(runs)+p.Limits.Fan-1)/p.Limits.Fan)
		size = (len(runs) + to - 1) / to
	}
	var out []task
	for files := range slices.Chunk(runs, size) {
		out = append(out, task{N: len(out), Files: files})
	}
	return out, nil
}

// gather merges whole runs to one. A run that is alone stays where it is.
func gather(p *Plan, s Step, t task) (done, error) {
	sections, _, _ := s.Layout()
	if len(t.Files) == 1 {
		o, err := lookAt(t.Files[0], Width(s), sections)
		return done{Runs: []output{o}}, err
	}
	path := storage.Join(p.Dir, fmt.Sprintf("gathered-%05d.run", t.N))
	o, err := mergeTo(path, t.Files, Width(s), sections, span{sections: sections, to: sections})
	return done{Runs: []output{o}}, err
}

// heldSample is up to how many bytes a section is read whole for a sample of it, by one request.
const heldSample = 1 << 20

// lookAt says what a run has.
func lookAt(path string, width, sections int) (o output, err error) {
	f, err := openRun(path, width, sections)
	if err != nil {
		return o, err
	}
	defer f.Close()
	o.Path = path
	for k := range sections {
		o.Sections = append(o.Sections, int64(f.Count(k)))
		o.Records += int64(f.Count(k))
	}
	take := sample(&o, o.Sections[0])
	if f.Count(0)*width <= heldSample {
		recs, err := f.records(0, 0, f.Count(0))
		for i := 0; i < len(recs); i += int(o.Every) * width {
			take.take(recs[i:])
		}
		return o, err
	}
	for i := 0; i < f.Count(0); i += int(o.Every) {
		b, err := f.records(0, i, i+1)
		if err != nil {
			return o, err
		}
		take.take(b)
	}
	return o, nil
}

// mergeTo writes a span of runs as one.
func mergeTo(path string, runs []string, width, sections int, of span) (o output, err error) {
	w, err := createRun(path, width, sections, false)
	if err != nil {
		return o, err
	}
	defer w.abort()
	o = output{Path: path, Sections: make([]int64, sections)}
	take := sample(&o, 64*samples) // how many will come is not known
	err = each(runs, width, of, func(section int, rec []byte) error {
		o.Records++
		o.Sections[section]++
		if section == 0 {
			take.see(rec)
		}
		return w.write(section, rec)
	})
	if err != nil {
		return o, err
	}
	return o, w.close()
}

func beginSpread(p *Plan, s Step, before []done) ([]task, error) {
	sections, _, _ := s.Layout()
	all, _ := collect(before, func(d *done) []output { return d.Runs })
	longest := int64(0)
	for k := range sections {
		n := int64(0)
		for _, o := range all {
			n += o.Sections[k]
		}
		longest = max(longest, n)
	}
	n := (longest + int64(p.Limits.RangeRecords) - 1) / int64(p.Limits.RangeRecords)
	st := &state{Files: paths(all), Bounds: quantiles(all, int(min(n, max(1, int64(maxRanges/sections)))))}
	if len(all) <= p.Limits.Fan {
		return pass, p.save("spread", st)
	}
	st.Groups = (len(all) + p.Limits.Fan - 1) / p.Limits.Fan
	ranges := len(st.Bounds) + 1
	coarse := min(ranges, max(1, p.Limits.Fan/sections))
	for c := range coarse {
		st.Coarse = append(st.Coarse, c*ranges/coarse)
	}
	var out []task
	for g := range st.Groups {
		files := st.Files[g*p.Limits.Fan : min((g+1)*p.Limits.Fan, len(st.Files))]
		if err := p.save(fmt.Sprintf("spread-%05d", g), &state{Files: files}); err != nil {
			return nil, err
		}
		for k := range sections {
			for c := range coarse {
				t := task{N: c, Section: k, Group: g}
				t.Lo, t.Hi = st.coarse(c)
				out = append(out, t)
			}
		}
	}
	st.Files = nil
	return out, p.save("spread", st)
}

// coarse are the bounds of a coarse range.
func (st *state) coarse(c int) (lo, hi []byte) {
	lo, _ = between(st.Bounds, st.Coarse[c])
	if c+1 < len(st.Coarse) {
		_, hi = between(st.Bounds, st.Coarse[c+1]-1)
	}
	return lo, hi
}

func (p *Plan) spreadPath(section, coarse, group int) string {
	return storage.Join(p.Dir, fmt.Sprintf("spread-%03d-%05d-%05d.run", section, coarse, group))
}

// spread writes a coarse range of a group of runs.
func spread(p *Plan, s Step, t task) (d done, err error) {
	st, err := p.load(fmt.Sprintf("spread-%05d", t.Group))
	if err != nil {
		return d, err
	}
	sections, _, _ := s.Layout()
	_, err = mergeTo(p.spreadPath(t.Section, t.N, t.Group), st.Files, Width(s), sections,
		span{sections, t.Section, t.Section + 1, t.Lo, t.Hi})
	return d, err
}
