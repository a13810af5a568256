package rewards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// What others say of answers travels as JSON, a line an answer each way: {"prompt": …, "completion": …, "answer": …}, where answer is the
// right one, and back a number, null for no reward, or {"reward": number}.

type question struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
	Answer     string `json:"answer"`
	Truncated  bool   `json:"truncated"`
}

// Asking says how others are asked.
type Asking struct {
	Timeout float64 `json:"timeout" help:"seconds until a program or an endpoint must have said its rewards of a batch of answers"`
	Retries int     `json:"retries" help:"retries after a failure"`
	Batch   int     `json:"batch_size" help:"answers sent in one request"`

	kept *cache
}

func newAsking() Asking { return Asking{Timeout: 60, Retries: 2, Batch: 64} }

// Open implements [Opener].
func (a *Asking) Open(e Env) (err error) {
	a.kept, err = openCache(e.Cache)
	return err
}

// Close implements [Opener].
func (*Asking) Close() error { return nil }

func (a *Asking) check() error {
	if !(a.Timeout > 0) || a.Retries < 0 || a.Batch < 1 {
		return fmt.Errorf("timeout is %g, retries %d and batch_size %d; they must be above 0, at least 0 and at least 1",
			a.Timeout, a.Retries, a.Batch)
	}
	return nil
}

// score asks of the answers that are not kept. ask gets the lines of questions and gives lines of rewards.
func (a *Asking) score(ctx context.Context, who string, answers []Answer,
	ask func(ctx context.Context, lines []byte) ([]byte, error)) ([]float64, error) {
	out := make([]float64, len(answers))
	keys, lines := make([]string, len(answers)), make([][]byte, len(answers))
	var open []int
	asked := map[string]int{} // of equal answers one is asked of
	for i, x := range answers {
		q, err := json.Marshal(question{x.Prompt, x.Completion, x.Right, x.Truncated})
		if err != nil {
			return nil, err
		}
		keys[i], lines[i] = storage.SHA256([]byte(who+"\x00"+string(q))), append(q, '\n')
		if v, ok := a.kept.get(keys[i]); ok {
			out[i] = v
		} else if _, ok := asked[keys[i]]; !ok {
			asked[keys[i]] = i
			open = append(open, i)
		}
	}
	for part := range slices.Chunk(open, a.Batch) {
		var batch []byte
		for _, i := range part {
			batch = append(batch, lines[i]...)
		}
		got, err := a.again(ctx, who, batch, len(part), ask)
		if err != nil {
			return nil, err
		}
		said := map[string]float64{}
		for k, i := range part {
			said[keys[i]] = got[k]
		}
		if err := a.kept.add(said); err != nil {
			return nil, err
		}
	}
	for i, k := range keys {
		if _, ok := asked[k]; ok {
			out[i], _ = a.kept.get(k)
		}
	}
	return out, nil
}

// again asks until there are n rewards, as often as it may.
func (a *Asking) again(ctx context.Context, who string, lines []byte, n int,
	ask func(ctx context.Context, lines []byte) ([]byte, error)) (got []float64, err error) {
	for try := 0; ; try++ {
		limit, cancel := context.WithTimeout(ctx, time.Duration(a.Timeout*float64(time.Second)))
		var raw []byte
		raw, err = ask(limit, lines)
		late := limit.Err() != nil && ctx.Err() == nil
		cancel()
		if late {
			err = fmt.Errorf("it has said nothing within timeout, %g s", a.Timeout)
		}
		if err == nil {
			got, err = rewardsOf(raw, n)
		}
		switch {
		case err == nil:
			return got, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case try == a.Retries:
			return nil, fmt.Errorf("%s: %w (asked %d times of %d answers)", who, err, try+1, n)
		}
	}
}

// rewardsOf reads n lines of rewards.
func rewardsOf(raw []byte, n int) ([]float64, error) {
	var out []float64
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		var v any
		x := math.NaN()
		err := json.Unmarshal([]byte(line), &v)
		if m, ok := v.(map[string]any); ok {
			v, ok = m["reward"]
			if !ok {
				err = errors.New(`it has no "reward"`)
			}
		}
		switch v := v.(type) {
		case float64:
			x = v
		case nil:
		default:
			err = errors.New("it is not a number")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q, is not a reward: want a number, null, or {\"reward\": number} (NaN is neither): %w",
				len(out)+1, short(line), err)
		}
		out = append(out, x)
	}
	if len(out) != n {
		return nil, fmt.Errorf("it says %d rewards of %d answers: want a line each", len(out), n)
	}
	return out, nil
}

// cache is what others said, by content: in memory, and in files of a folder, one for each time that they were asked.
type cache struct {
	dir string
	mu  sync.Mutex
	all map[string]*float64 // nil for no reward
}

func openCache(dir string) (*cache, error) {
	c := &cache{dir: dir, all: map[string]*float64{}}
	if dir == "" {
		return c, nil
	}
	files, err := storage.Glob(storage.Join(dir, "rewards-*.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range files {
		raw, err := storage.ReadSmall(f, storage.KindState)
		if err != nil {
			return nil, err
		}
		said := map[string]*float64{}
		if err := json.Unmarshal(raw, &said); err != nil {
			return nil, fmt.Errorf("%s: %w: delete it, and its rewards are asked for again", f, err)
		}
		maps.Copy(c.all, said)
	}
	return c, nil
}

func (c *cache) get(key string) (float64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.all[key]
	if ok && v == nil {
		return math.NaN(), true
	}
	if !ok {
		return 0, false
	}
	return *v, true
}

func (c *cache) add(said map[string]float64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	file := map[string]*float64{}
	for k, v := range said {
		if file[k] = nil; !math.IsNaN(v) {
			file[k] = &v
		}
		c.all[k] = file[k]
	}
	if c.dir == "" {
		return nil
	}
	name := storage.SHA256([]byte(strings.Join(slices.Sorted(maps.Keys(said)), " ")))[:32]
	return storage.WriteJSON(storage.Join(c.dir, "rewards-"+name+".json"), file)
}
