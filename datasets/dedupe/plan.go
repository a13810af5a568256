package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Plan is what the phases of one step of deduplication share. [Plan.Phases] are done one after another: a phase is planned when all tasks
// of the one before it have ended, by who gets what they returned, and its tasks may run at once, anywhere, any number of times:
//
//	gather, spread   many runs of keys to few, at a cost that grows with their bytes: see gather.go
//	merge            the keys of a range of all runs → removals, or links between neighbours of one band
//	large, small     a round of label propagation over the links of a part of the documents, [rounds] times; nothing once it has ended
//	end              what the rounds have left, in one task, by uniting
//	join             each link with the label of its cluster
//	roots            the clusters of a part of the labels → removals
//	removals         the removals of a range of the documents to a file, and the list of the files
//
// The tasks' numbers follow from what there is, the phases and with them a job's graph do not.
//
// Memory is that of one task: mergeBytes of what it reads, Limits.SpillBytes of what it writes and the same twice to sort it, together
// about 128 MiB; in roots what the links of the largest cluster take besides, about 200 bytes a document; in end up to 40 bytes a link that
// it unites.
type Plan struct {
	Settings string // of the step, JSON
	Dir      string // where the tasks write
	Index    bool   // IndexList in Dir names the runs of an earlier index
	Save     string // folder of the index to write, "" for none
	Limits   Limits
}

// Limits are how much a task has to do. What is 0 has its default; no limit changes what is removed.
type Limits struct {
	Fan          int // runs that a task reads at most: 256
	RangeRecords int // records of a section that a range is planned to have: 256 Ki
	PartLinks    int // links that a part is planned to have: 512 Ki
	SpillBytes   int // what a task holds of what it writes: 32 MiB
	FileRemovals int // removals that a file is planned to have: 1 Mi
	Rounds       int // of label propagation at most: 8, and no more
	EndLinks     int // links that the rounds may leave at most: 1 << 26, which take up to 2.5 GiB
}

// rounds is how many rounds of label propagation there are; maxRanges and parts are how many ranges of keys (of all sections) and parts of
// the documents (by hash) there are at most.
const (
	rounds    = 8
	maxRanges = 2048
	parts     = 256
)

func (l *Limits) complete() {
	l.Fan = cmp.Or(l.Fan, 256)
	l.RangeRecords = cmp.Or(l.RangeRecords, 256<<10)
	l.PartLinks = cmp.Or(l.PartLinks, 512<<10)
	l.SpillBytes = cmp.Or(l.SpillBytes, 32<<20)
	l.FileRemovals = cmp.Or(l.FileRemovals, 1<<20)
	l.Rounds = min(cmp.Or(l.Rounds, rounds), rounds)
	l.EndLinks = cmp.Or(l.EndLinks, 1<<26)
}

// FromIndex is the ID that stands for all documents of an index: before all others.
var FromIndex = ID{}

// Phase is one of a plan's. It is the same on every machine that has the plan.
type Phase struct {
	Name string
	// begin gets what the tasks of the phase before returned, in any order, and makes the tasks; at least one, so that the next phase
	// begins.
	begin func(p *Plan, s Step, before []done) ([]task, error)
	do    func(p *Plan, s Step, t task) (done, error)
}

// task is what a task receives, besides the state that its phase's planning wrote; pass is the one with nothing to do.
type task struct {
	N       int    `json:"n"`
	Section int    `json:"section,omitempty"`
	Lo      []byte `json:"lo,omitempty"` // bounds of keys or IDs; nil is none
	Hi      []byte `json:"hi,omitempty"`
	Group   int    `json:"group,omitempty"`
	// Files are what the task reads where the phase's other tasks read others.
	Files []string `json:"files,omitempty"`
}

const nothing = -1

var pass = []task{{N: nothing}}

// done is what a task returns.
type done struct {
	Runs  []output `json:"runs,omitempty"` // keys, removals, or what is joined
	Links []output `json:"links,omitempty"`
	Edges []output `json:"edges,omitempty"`
	// Count and Sum are the fingerprint of the edges that were read: their number and the sum of their hashes.
	Count uint64 `json:"count,omitempty"`
	Sum   uint64 `json:"sum,omitempty"`
}

// Phases are those of a step.
func Phases(s Step) []Phase {
	out := []Phase{{"gather", beginGather, gather}, {"spread", beginSpread, spread}, {"merge", beginMerge, mergeRange}}
	if _, _, clusters := s.Layout(); clusters {
		for r := range rounds {
			out = append(out, large(r), small(r))
		}
		out = append(out, Phase{"end", beginEnd, unite}, Phase{"join", beginJoin, join}, Phase{"roots", beginRoots, roots})
	}
	return append(out, Phase{"removals", beginRemovals, removals}, Phase{"list", list, listed})
}

// Begin plans a phase; before is what [Phase.Do] of the one before it returned, or the paths of the signed documents' runs, in any order.
func (ph *Phase) Begin(p Plan, s Step, before []string) ([]string, error) {
	p.Limits.complete()
	var all []done
	for _, b := range before {
		var d done
		if ph.Name == "gather" {
			d.Runs = []output{{Path: b}}
		} else if err := json.Unmarshal([]byte(b), &d); err != nil {
			return nil, fmt.Errorf("deduplication, %s: %w", ph.Name, err)
		}
		all = append(all, d)
	}
	tasks, err := ph.begin(&p, s, all)
	if err != nil {
		return nil, fmt.Errorf("deduplication, planning %s: %w", ph.Name, err)
	}
	out := make([]string, len(tasks))
	for i := range tasks {
		out[i] = encode(&tasks[i])
	}
	return out, nil
}

// Do does a task that [Phase.Begin] made. A task that is done again writes its files over with equal bytes.
func (ph *Phase) Do(p Plan, s Step, text string) (string, error) {
	p.Limits.complete()
	var t task
	var d done
	err := json.Unmarshal([]byte(text), &t)
	if err == nil && t.N != nothing {
		d, err = ph.do(&p, s, t)
	}
	if err != nil {
		return "", fmt.Errorf("deduplication, %s %d: %w", ph.Name, t.N, err)
	}
	return encode(&d), nil
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // these are numbers and strings
	}
	return string(b)
}

// numbered are n tasks that differ in their numbers.
func numbered(n int) []task {
	out := make([]task, n)
	for i := range out {
		out[i].N = i
	}
	return out
}

// state is what a phase's planning leaves its tasks and the planning of later phases.
type state struct {
	Files []string `json:"files,omitempty"` // what the tasks read
	Parts int      `json:"parts,omitempty"` // how many the documents are cut into
	Links []string `json:"links,omitempty"`
	// Ended says that Files are stars around the least document of each cluster, Skipped that no further round is wanted, and Count and Sum
	// are the last fingerprint.
	Ended   bool   `json:"ended,omitempty"`
	Skipped bool   `json:"skipped,omitempty"`
	Count   uint64 `json:"count,omitempty"`
	Sum     uint64 `json:"sum,omitempty"`
	// of ranges of keys
	Bounds [][]byte `json:"bounds,omitempty"` // between the ranges of a section
	Coarse []int    `json:"coarse,omitempty"` // the first range of each coarse one
	Groups int      `json:"groups,omitempty"` // of runs that were spread, 0 for none
}

func (p *Plan) save(phase string, st *state) error {
	return storage.WriteFile(storage.Join(p.Dir, phase+".json"), []byte(encode(st)))
}

func (p *Plan) load(phase string) (*state, error) {
	path := storage.Join(p.Dir, phase+".json")
	b, err := storage.ReadFile(path)
	if err != nil {
		return nil, err
	}
	st := &state{}
	if err := json.Unmarshal(b, st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return st, nil
}

// collect are the outputs of all tasks by their paths, and how many records they have.
func collect(before []done, of func(*done) []output) (all []output, records int64) {
	for i := range before {
		all = append(all, of(&before[i])...)
	}
	slices.SortFunc(all, func(a, b output) int { return cmp.Compare(a.Path, b.Path) })
	for _, o := range all {
		records += o.Records
	}
	return all, records
}

func paths(all []output) []string {
	out := make([]string, len(all))
	for i, o := range all {
		out[i] = o.Path
	}
	return out
}

// quantiles are up to n-1 different keys of 8 bytes that cut what the samples are of into n parts of similar size.
func quantiles(all []output, n int) [][]byte {
	type weighed struct {
		key    uint64
		weight int64
	}
	var keys []weighed
	total := int64(0)
	for _, o := range all {
		for i := 0; i < len(o.Sample); i += 8 {
			keys = append(keys, weighed{binary.BigEndian.Uint64(o.Sample[i:]), o.Every})
			total += o.Every
		}
	}
	slices.SortFunc(keys, func(a, b weighed) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.weight, b.weight)) })
	var out [][]byte
	i, before := 0, int64(0)
	for k := 1; k < n && len(keys) > 0; k++ {
		for i+1 < len(keys) && before+keys[i].weight <= total*int64(k)/int64(n) {
			before += keys[i].weight
			i++
		}
		b := binary.BigEndian.AppendUint64(nil, keys[i].key)
		if len(out) == 0 || !bytes.Equal(b, out[len(out)-1]) {
			out = append(out, b)
		}
	}
	return out
}

// between gives the bounds of the part i of those that bounds cut.
func between(bounds [][]byte, i int) (lo, hi []byte) {
	if i > 0 {
		lo = bounds[i-1]
	}
	if i < len(bounds) {
		hi = bounds[i]
	}
	return lo, hi
}

// place is the part of 256 that a document is in, by hash. A task has several of them where there are fewer tasks: see [portion].
func place(id ID) int {
	x := uint64(id.File)<<32 | uint64(id.Doc)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) >> 56)
}

// portion is what the task n of some reads of runs that have a section for each place.
func portion(n, of int) span {
	return span{sections: parts, from: n * parts / of, to: (n + 1) * parts / of}
}

// portions is how many tasks there are for so many links.
func (p *Plan) portions(links int64) int {
	return int(min(parts, max(1, (links+int64(p.Limits.PartLinks)-1)/int64(p.Limits.PartLinks))))
}

func (p *Plan) path(kind string, a, b int) string {
	return storage.Join(p.Dir, fmt.Sprintf("%s-%03d-%05d", kind, a, b))
}
