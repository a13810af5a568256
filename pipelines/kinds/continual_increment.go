package kinds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"

	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/train/continual"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// take takes the next increment, or goes on with the one that was begun, and returns the number of its files; 0 where there is none.
func (l *learner) take(ctx context.Context) (int, error) {
	h := l.history
	x := continual.Increment{Number: h.Next()}
	if c := h.Current(); c != nil {
		x.Parent = c.Number
	}
	c, err := readClaim(l.WorkPath(incrementsDir, numbered(x.Number)))
	if err != nil {
		return 0, err
	}
	if c == nil {
		files, same, err := l.stream.fresh(h, l.Recipe.Continual.IncrementFiles)
		if err != nil || len(files) == 0 {
			return 0, err
		}
		if c, err = makeClaim(l.path(incrementsDir, numbered(x.Number)), files); err == nil {
			err = l.shareClaim(ctx, x.Number, c)
		}
		if err != nil {
			return 0, err
		}
		if same != nil && h.Same(c.Files[0].SHA256) != nil { // and it was not changed since
			l.Tell("increment %d: %s has the content of increment %d and is not trained on again", x.Number, files[0].Source, same.Number)
		}
	} else {
		l.Tell("increment %d goes on", x.Number)
	}
	x.Files = c.Files
	s, err := l.Sub(measuring(l.Recipe), incrementsDir, numbered(x.Number))
	if err != nil {
		return 0, err
	}
	if same := h.Same(c.Files[0].SHA256); same != nil && len(c.Files) == 1 {
		x.Decision, x.Reason = continual.Duplicate, fmt.Sprintf("the content was taken in increment %d", same.Number)
	} else {
		var names []string
		for _, f := range c.Files {
			names = append(names, f.Name)
		}
		l.Tell("increment %d: %s", x.Number, strings.Join(names, ", "))
		if err := l.learn(ctx, s, c, &x); err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			return 0, fmt.Errorf("increment %d (%s): %w", x.Number, strings.Join(names, ", "), err)
		}
		if x.Decision == continual.Rejected {
			l.refused = append(l.refused, fmt.Sprintf("%s: %s", strings.Join(names, ", "), x.Reason))
		}
	}
	h.Increments = append(h.Increments, x)
	if err := l.writeHistory(ctx); err != nil {
		return 0, err
	}
	l.Tell("%s", l.line(&x))
	if err := s.Discard(ctx); err != nil {
		return 0, err
	}
	if err := l.settle(ctx); err != nil {
		return 0, err
	}
	return len(c.Files), nil
}

// learn trains and judges an increment whose files were claimed. What it leaves behind depends on those files, the version before and the
// recipe alone.
func (l *learner) learn(ctx context.Context, s *run.Run, c *claim, x *continual.Increment) error {
	parent := l.Recipe.Train.InitAdapter
	if p := l.history.Current(); p != nil {
		parent = l.path(p.Adapter)
	}
	s.Recipe.Train.InitAdapter = parent
	data, err := l.prepareIncrement(ctx, s, c, x)
	if err != nil || x.Decision != "" {
		return err
	}
	if err := l.shares(s, x); err != nil {
		return err
	}
	keep, held, err := l.reservoirs(data, x)
	if err != nil {
		return err
	}
	d := &run.Data{Train: data, Domain: l.domain, General: l.general}
	if held != nil && held.Len() > 0 {
		if x.HeldOut, err = l.write(ctx, heldOutDir+"/"+numbered(x.Number)+".parquet", data, held.Sequences()); err != nil {
			return err
		}
		d.Domain = []prepare.ShardRef{{Path: l.WorkPath(x.HeldOut.Path), SHA256: x.HeldOut.SHA256}}
	}
	x.Before, err = l.before(ctx, s, d, parent)
	if err != nil {
		return err
	}
	st, err := l.trainIncrement(ctx, s, d, x)
	if err != nil || x.Decision != "" {
		return err
	}
	after, err := run.Record(s, "after", func() (*measure.Results, error) { return s.Evaluate(ctx, d, s.PointOf(st)) })
	if run.Diverged(err) && ctx.Err() == nil {
		x.Decision, x.Reason = continual.RolledBack, "the training diverged: "+err.Error()
		return l.drop(x)
	}
	if err != nil {
		return err
	}
	x.After = continual.Scores{Domain: score(after.Domain), General: score(after.General)}
	if x.Decision, x.Reason = l.limits.Decide(l.history.Base.General, x.Before, x.After); x.Decision != continual.Accepted {
		return l.drop(x)
	}
	return l.keep(ctx, s, data, x, st, keep)
}

// prepareIncrement prepares an increment's shards. Of files that cannot be used x's decision says so.
func (l *learner) prepareIncrement(ctx context.Context, s *run.Run, c *claim, x *continual.Increment) (*prepare.Result, error) {
	d := l.Recipe.Data
	reject := func(reason string) (*prepare.Result, error) {
		for _, r := range [][2]string{{s.WorkPath(c.folder()), inputDir}, {s.WorkPath() + "/", ""},
			{s.Output + string(filepath.Separator), ""}} {
			reason = strings.ReplaceAll(reason, r[0], r[1])
		}
		x.Decision, x.Reason = continual.Rejected, reason
		return nil, l.rejects(s, x.Number)
	}
	if err := l.fetchInputs(x.Number, c); err != nil {
		return nil, err
	}
	inputs := c.inputs(filepath.Join(s.Output, inputDir))
	how := s.Reading("train").Options
	how.Pages = s.Reading("train").HTML != nil
	for i, path := range inputs { // what cannot be opened is the file's fault: it is a copy on this disk
		in, err := datasets.Open(path, c.Files[i].Name, how)
		if err != nil && ctx.Err() == nil {
			return reject(err.Error())
		}
		if err := in.Close(); err != nil {
			return nil, err
		}
	}
	fraction := d.ValidationFraction
	if l.domain != nil {
		fraction = 0
	}
	if s.Work != "" { // which workers see
		inputs = c.inputs(s.WorkPath(c.folder()))
	}
	res, err := s.PrepareSet(ctx, "train", inputs, nil, fraction)
	if errors.Is(err, prepare.ErrNoText) {
		return reject(err.Error())
	}
	if err != nil {
		return nil, err
	}
	x.Data = continual.Records{Read: res.Read, Kept: res.Kept, Rejected: res.Rejected, Sequences: res.Sequences, Tokens: res.Tokens}
	if err := s.Bad(res.Funnel); err != nil {
		return reject(err.Error())
	}
	return res, l.rejects(s, x.Number)
}

// rejects moves an increment's dead letters to those of the run.
func (l *learner) rejects(s *run.Run, number int) error {
	if s.Work != "" {
		return l.rejectsAfar(s, number)
	}
	files, err := filepath.Glob(filepath.Join(s.Output, run.RejectsDir, "*"))
	if err != nil || len(files) == 0 {
		return err
	}
	if err := storage.MkdirAll(l.path(run.RejectsDir)); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Rename(f, l.path(run.RejectsDir, numbered(number)+"-"+filepath.Base(f))); err != nil {
			return err
		}
	}
	return nil
}

// shares notes what the increment's files share with what every version is measured on.
func (l *learner) shares(s *run.Run, x *continual.Increment) error {
	sets := []string{"general", ""}
	if l.domain != nil {
		sets = []string{"domain", "general"}
	}
	all, err := l.Overlaps(s, sets...)
	for _, o := range all {
		x.Overlap = append(x.Overlap, o.String())
	}
	return err
}

// reservoirs are what is to be replayed as it was before the increment, and the held-out text with the increment's own; held is nil where
// eval_input is named.
func (l *learner) reservoirs(data *prepare.Result, x *continual.Increment) (keep, held *continual.Reservoir, err error) {
	seed := l.Recipe.Train.Seed
	keep = continual.NewReservoir(l.Recipe.Continual.ReplaySequences, seed)
	p := l.history.Current()
	if p != nil && p.Replay != nil {
		if err := l.read(keep, p.Replay); err != nil {
			return nil, nil, err
		}
	}
	if l.domain != nil {
		return keep, nil, nil
	}
	n := l.Recipe.Evaluate.MaxSequences
	if n == 0 {
		n = unboundedHeldOut
	}
	held = continual.NewReservoir(n, seed)
	if p != nil && p.HeldOut != nil {
		if err := l.read(held, p.HeldOut); err != nil {
			return nil, nil, err
		}
	}
	for _, r := range data.Validation {
		if err := held.Read(r.Path); err != nil {
			return nil, nil, err
		}
	}
	return keep, held, nil
}

// unboundedHeldOut bounds the held-out sequences where evaluate.max_sequences does not.
const unboundedHeldOut = 4096

func (l *learner) read(r *continual.Reservoir, k *continual.Kept) error {
	path := l.WorkPath(k.Path)
	sum, err := storage.SHA256File(path)
	if err != nil {
		return err
	}
	if sum != k.SHA256 {
		return fmt.Errorf("%s: its checksum is not the one in %s: restore the file, or choose another --output", path, HistoryFile)
	}
	return r.Read(path)
}

// write writes sequences as a shard like those of data; path is relative to the run's folder or work location.
func (l *learner) write(ctx context.Context, path string, data *prepare.Result, seqs []datasets.Sequence) (*continual.Kept, error) {
	if err := l.mayWrite(ctx); err != nil {
		return nil, err
	}
	s, err := datasets.OpenShard(data.Train[0].Path)
	if err != nil {
		return nil, err
	}
	meta := s.Meta()
	if err := s.Close(); err != nil {
		return nil, err
	}
	info, err := continual.WriteSequences(l.WorkPath(path), meta, seqs)
	if err != nil {
		return nil, err
	}
	return &continual.Kept{Path: path, SHA256: info.SHA256, Sequences: info.Rows}, nil
}

// before is the score of the version that the increment starts from. Where the evaluation sets are always the same, it is known.
func (l *learner) before(ctx context.Context, s *run.Run, d *run.Data, parent string) (continual.Scores, error) {
	if l.domain != nil && (l.history.Current() != nil || parent == "") {
		return l.history.Latest(), nil
	}
	e, err := run.Record(s, "before", func() (*measure.Results, error) {
		if parent == "" {
			return s.Evaluate(ctx, &run.Data{Domain: d.Domain}, train.Point{})
		}
		sets := &run.Data{Domain: d.Domain}
		if l.history.Current() == nil { // an adapter of the recipe's, which nothing is known of
			sets.General = d.General
		}
		return s.Evaluate(ctx, sets, train.Point{Start: true})
	})
	if err != nil {
		return continual.Scores{}, err
	}
	out := continual.Scores{Domain: score(e.Domain), General: score(e.General)}
	if out.General == nil {
		out.General = l.history.Latest().General
	}
	return out, nil
}

// trainIncrement trains on the increment's text and a replay. Of a training that diverges x's decision says so.
func (l *learner) trainIncrement(ctx context.Context, s *run.Run, d *run.Data, x *continual.Increment) (*train.State, error) {
	keep, _, err := l.reservoirs(d.Train, x)
	if err != nil {
		return nil, err
	}
	own := *d.Train
	n := int64(0)
	for _, r := range own.Train {
		n += r.Rows
	}
	if x.Data.Replayed = keep.Replays(int(n), l.Recipe.Continual.ReplayFraction); x.Data.Replayed > 0 {
		k, err := l.write(ctx, incrementsDir+"/"+numbered(x.Number)+"/replay.parquet", d.Train, keep.Sample(x.Data.Replayed, x.Number))
		if err != nil {
			return nil, err
		}
		own.Train = append(slices.Clip(own.Train), prepare.ShardRef{Path: l.WorkPath(k.Path), SHA256: k.SHA256, Rows: k.Sequences})
	}
	args := s.Args()
	if have, least := int(n)+x.Data.Replayed, args.LeastSequences(); have < least {
		x.Decision = continual.Rejected
		x.Reason = fmt.Sprintf("its %d training sequences are fewer than a batch of %d, and dataloader_drop_last drops them all",
			have, least)
		return nil, l.drop(x)
	}
	with := *d
	with.Train = &own
	st, err := s.Train(ctx, &with)
	if run.Diverged(err) && ctx.Err() == nil {
		x.Decision, x.Reason = continual.RolledBack, "the training diverged: "+err.Error()
		return nil, l.drop(x)
	}
	if err != nil {
		return nil, err
	}
	if x.Steps = st.Step; len(st.History) > 0 {
		x.Loss = st.History[len(st.History)-1].Loss
	}
	return st, nil
}

// drop leaves nothing of an increment but its record.
func (l *learner) drop(x *continual.Increment) error {
	x.HeldOut = nil
	return os.RemoveAll(l.path(VersionsDir, numbered(x.Number)))
}

// keep writes the version of an increment and what it leaves for later ones.
func (l *learner) keep(ctx context.Context, s *run.Run, data *prepare.Result, x *continual.Increment, st *train.State,
	keep *continual.Reservoir) error {
	for _, r := range data.Train {
		if err := keep.Read(r.Path); err != nil {
			return err
		}
	}
	var err error
	if keep.Len() > 0 {
		if x.Replay, err = l.write(ctx, replayDir+"/"+numbered(x.Number)+".parquet", data, keep.Sequences()); err != nil {
			return err
		}
	}
	x.Adapter = VersionsDir + "/" + numbered(x.Number)
	dir := l.path(VersionsDir, numbered(x.Number))
	if err := os.RemoveAll(dir); err != nil { // of a run that was killed here
		return err
	}
	card := peft.Card{Training: [][2]string{{"increment", fmt.Sprint(x.Number)}, {"steps", fmt.Sprint(x.Steps)},
		{"learning_rate", fmt.Sprint(l.Recipe.Train.LearningRate)}}}
	card.Training = append(card.Training, l.Teaching()...)
	for _, r := range []struct {
		name          string
		before, after *continual.Score
	}{{"domain", x.Before.Domain, x.After.Domain}, {"general", l.history.Base.General, x.After.General}} {
		if r.before != nil && r.after != nil {
			card.Results = append(card.Results, [2]string{r.name + " perplexity",
				report.BeforeAfter(r.before.Perplexity, r.after.Perplexity)})
		}
	}
	if err := l.mayWrite(ctx); err != nil {
		return err
	}
	if err := s.Save(ctx, st, card, l.Product(VersionsDir, numbered(x.Number))); err != nil {
		return err
	}
	if err := l.fetchVersion(ctx, x); err != nil {
		return err
	}
	x.SHA256, err = versionSum(dir)
	return err
}
