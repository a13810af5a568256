package prepare

import (
	"cmp"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/transforms/mix"
)

// Volume is what there is to prepare, as far as what it costs depends on it.
type Volume struct {
	Bytes     int64 // of the input files, decompressed
	Files     int64
	Documents int64
	Tokens    int64
}

// Cost is what one job of preparing asks, at most, of the store that the work and the input lie in, and of its workers. It is a sum of
// terms that are each linear in the volume; nothing that it counts is multiplied by anything else that grows.
type Cost struct {
	Job     string
	Opens   int64 // files or objects that are opened
	Puts    int64 // files or objects that are written
	Read    int64 // bytes
	Written int64 // bytes
}

// requestBytes is what one request of an object reads at most: see internal/storage.
const requestBytes = 4 << 20

// Gets are the requests that reading is: to open an object asks for its size and version.
func (c *Cost) Gets() int64 { return 2*c.Opens + c.Read/requestBytes }

// Dollars are what the requests cost at Amazon S3's prices for its standard class in us-east-1 (November 2026: 0.0004 dollars a thousand
// reads, 0.005 a thousand writes). Bytes within a region cost nothing.
func (c *Cost) Dollars() float64 { return float64(c.Gets())*0.0004/1000 + float64(c.Puts)*0.005/1000 }

// The constants of [Config.Costs]: what a file of row groups has besides its rows, how many parts a partitioner cuts into, and how many
// references a file of them holds.
const (
	fileBytes = 16 << 10
	fan       = 256
	perList   = 4096
)

// coster adds up the costs of a configuration's jobs.
type coster struct {
	cfg    *Config
	v      Volume
	blocks int64 // of the input
	groups int64 // row groups of staged records
	docs   int64 // bytes of staged documents
	out    []Cost
}

// per is how many pieces of size bytes n bytes are, the last of which may be smaller.
func per(n, size int64) int64 { return (n + size - 1) / size }

// Costs are what the jobs of preparing v cost, by the configuration's steps and sizes, in their order:
//
//	blocks B = files + bytes/block;  groups G = B + bytes/group;  parts P(x) = ⌈x/part⌉, whose 256 slices a level each are read once
//
// A stage opens each group once and writes at most three files for it. Deduplication opens each run of keys twice and 256·P(keys) slices a
// level of gathering, and dropping what is repeated finds a group's removals by [core.Limits.RemovalReads] besides; label propagation has
// at most 256 parts, each of which reads all in each of 16 phases. Packing opens each group three times and 256·P(documents) slices a
// level. All that is read or written once is so much of the bytes; the files' own are 16 KiB each.
func (c *Config) Costs(v Volume) []Cost {
	k := (&coster{cfg: c, v: v}).begin()
	job := Cost{Job: "adaptflow-ingest", Opens: 5*v.Files + 3*k.blocks, Puts: 2*k.blocks + v.Files/perList,
		Read: 3 * v.Bytes, Written: v.Bytes}
	if len(c.Clean) > 0 {
		job.add(k.judged())
	}
	if c.classes() && len(c.Dedupe) == 0 {
		k.end(job)
		job = Cost{Job: "adaptflow-tokenize"}
	}
	for i := range c.Dedupe {
		step, err := core.Decode(c.Dedupe[i])
		if err != nil {
			continue // settings were checked
		}
		keys := k.keys(step)
		job.add(Cost{Opens: k.groups, Puts: k.groups, Read: v.Bytes, Written: keys}) // signing
		k.end(job)
		name := (&driver{cfg: *c}).stepName(i)
		k.end(k.find("adaptflow-"+name+"-find", step, keys))
		requests, read := c.DedupeLimits.RemovalReads()
		job = Cost{Job: "adaptflow-" + name, Opens: (2 + requests) * k.groups, Read: 24*v.Documents + read*k.groups}
		job.add(k.judged())
	}
	if c.Until != "" {
		k.end(job)
		return k.out
	}
	job.add(Cost{Opens: k.groups, Puts: 3 * k.groups, Read: v.Bytes, Written: k.docs}) // tokenizing
	k.end(job)
	if m := c.mixing(); m.On() {
		for range 3 {
			k.end(Cost{Job: "adaptflow-" + mix.Name, Opens: k.groups, Read: 40 * v.Documents, Written: 1 << 20 * int64(len(c.Sources))})
		}
	}
	k.pack()
	return k.out
}

// begin counts what there is.
func (k *coster) begin() *coster {
	s := k.cfg.sizes()
	k.blocks = k.v.Files + per(k.v.Bytes, s.Block)
	k.groups = k.blocks + per(k.v.Bytes, s.Group)
	k.docs = 6*k.v.Tokens + 128*k.v.Documents
	return k
}

// sizes are those of the configuration, defaults filled in.
func (c *Config) sizes() Sizes {
	return Sizes{Group: cmp.Or(c.Sizes.Group, 4<<20), Part: cmp.Or(c.Sizes.Part, 256<<20),
		Block: cmp.Or(c.Sizes.Block, datasets.BlockBytes)}
}

func (c *Cost) add(o Cost) {
	c.Opens, c.Puts, c.Read, c.Written = c.Opens+o.Opens, c.Puts+o.Puts, c.Read+o.Read, c.Written+o.Written
}

// end ends a job: its lists and totals, and what files have besides their rows.
func (k *coster) end(c Cost) {
	lists := 64 + k.groups/perList
	c.Opens, c.Puts = c.Opens+lists, c.Puts+lists
	c.Read, c.Written = c.Read+fileBytes*c.Opens, c.Written+fileBytes*c.Puts
	k.out = append(k.out, c)
}

// judged is a stage that reads groups and writes what it keeps, and dead letters.
func (k *coster) judged() Cost {
	return Cost{Opens: k.groups, Puts: 2 * k.groups, Read: k.v.Bytes, Written: k.v.Bytes}
}

// keys are the bytes of what documents are signed by.
func (k *coster) keys(step core.Step) int64 {
	n, width := k.v.Documents, int64(core.Width(step))
	sections, _, _ := step.Layout()
	switch step.Name() {
	case "paragraphs":
		n = max(n, k.v.Bytes/64)
	case "sentences":
		n = max(n, k.v.Bytes/40)
	}
	return n * int64(sections) * width
}

// find is the job that finds what is repeated.
func (k *coster) find(job string, step core.Step, keys int64) Cost {
	levels := k.levels(keys)
	c := Cost{Job: job, Opens: 2*k.groups + levels*fan*per(keys, k.cfg.sizes().Part), Puts: fan + levels*per(keys, k.cfg.sizes().Part)*fan,
		Read: (levels + 2) * keys, Written: (levels + 1) * keys}
	if _, _, clusters := step.Layout(); clusters {
		parts := min(fan, 1+per(24*k.v.Documents, 8<<20))
		c.add(Cost{Opens: 20 * parts * parts, Puts: 20 * parts, Read: 20 * 48 * k.v.Documents, Written: 20 * 48 * k.v.Documents})
	}
	return c
}

// levels is how often what is brought together is cut 256 ways until its parts are small, at least once.
func (k *coster) levels(bytes int64) int64 {
	n := int64(0)
	for at := k.cfg.sizes().Part; at < bytes && n < 4; at *= fan {
		n++
	}
	return max(1, n)
}

// pack is the job that packs shards.
func (k *coster) pack() {
	shards := int64(datasets.NumShards(max(1, k.v.Tokens), k.cfg.TokensPerShard)) + 1
	levels := k.levels(k.docs)
	parts := per(k.docs, k.cfg.sizes().Part)
	k.end(Cost{Job: "adaptflow-pack", Opens: 3*k.groups + shards + levels*fan*parts, Puts: 2*k.groups + 2*shards + levels*parts,
		Read: (levels+3)*k.docs + k.v.Bytes, Written: (levels+1)*k.docs + 16*k.v.Tokens})
}
