package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// A job whose workers share no folder has a location, [Job.Location], of which each machine keeps what it needs in a folder of its own. A
// file goes to the location when it is whole, a checkpoint's state and a round's state last, and comes from there when a machine that has
// not written it asks for it. What a file must hold its reference says; the states, which nothing refers to, are sealed.

// here returns the job as it is on this machine: the folder of a job with a location, and the local folders of what it refers to.
func (j Job) here() (Job, error) {
	if j.Location == "" {
		return j, nil
	}
	cache, err := storage.CacheDir()
	if err != nil {
		return j, err
	}
	dir := filepath.Join(cache, "training", storage.SHA256([]byte(j.Location))[:32])
	if j.Dir != "" && j.Dir != dir {
		return j, errors.New("train: a job has a folder or a location, not both")
	}
	j.Dir = dir
	return j, nil
}

// scratchTime is how long this machine keeps its copies of the files of jobs that nobody has worked on.
const scratchTime = 7 * 24 * time.Hour

// tidy removes the copies of jobs that were last worked on long ago.
func (j *Job) tidy() {
	if j.Location == "" {
		return
	}
	root := filepath.Dir(j.Dir)
	now := time.Now()
	_ = os.Chtimes(j.Dir, now, now)
	es, _ := os.ReadDir(root) // what cannot be read or removed stays: it is a cache
	for _, e := range es {
		if info, err := e.Info(); err == nil && info.IsDir() && now.Sub(info.ModTime()) > scratchTime {
			_ = os.RemoveAll(filepath.Join(root, e.Name()))
		}
	}
}

// Place is the folder on this machine of the job's checkpoints.
func (j Job) Place() (string, error) {
	j, err := j.here()
	return j.Dir, err
}

// Pull brings what the job refers to, the base, the teachers and the adapter that it starts from, to this machine.
func (j *Job) Pull(ctx context.Context) error {
	j.Teachers = slices.Clone(j.Teachers)
	refs := []*string{&j.Model, &j.InitAdapter, &j.Task.Embeddings}
	for i := range j.Teachers {
		refs = append(refs, &j.Teachers[i])
	}
	for _, r := range refs {
		var err error
		if *r, err = pulled.Folder(ctx, *r); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoints are the steps of the job's finished checkpoints, ascending, wherever they are.
func (j Job) Checkpoints() ([]int, error) {
	if j.Location == "" {
		return Checkpoints(j.Dir)
	}
	return remoteCheckpoints(j.Location)
}

// remoteCheckpoints is [Checkpoints] of a location.
func remoteCheckpoints(location string) ([]int, error) {
	var steps []int
	err := storage.List(context.Background(), location, func(i storage.Info) error {
		dir, name := path.Split(strings.TrimPrefix(i.URI, strings.TrimRight(location, "/")+"/"))
		n, ok := strings.CutPrefix(strings.TrimSuffix(dir, "/"), "checkpoint-")
		if k, err := strconv.Atoi(n); ok && err == nil && name == stateFile {
			steps = append(steps, k)
		}
		return nil
	})
	slices.Sort(steps)
	return steps, err
}

// Checkpoint returns the folder of a checkpoint of the job on this machine, with all its files but those whose names begin with except (""
// for none).
func (j Job) Checkpoint(step int, except string) (string, error) {
	j, err := j.here()
	if err != nil {
		return "", err
	}
	dir := CheckpointDir(j.Dir, step)
	if j.Location == "" {
		return dir, nil
	}
	rel := filepath.Base(dir)
	if err := j.down(filepath.Join(rel, stateFile), ""); err != nil {
		return dir, err
	}
	st, err := readStateFile(dir)
	if err != nil {
		return dir, err
	}
	for _, f := range st.names(except) {
		if err := j.down(filepath.Join(rel, f), st.Files[f]); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// StateOf is the state of a checkpoint of the job: on a location it alone is read, and its files when they are needed.
func (j Job) StateOf(step int) (*State, error) {
	j, err := j.here()
	if err != nil {
		return nil, err
	}
	dir := CheckpointDir(j.Dir, step)
	if j.Location == "" {
		return ReadState(dir)
	}
	if err := j.down(filepath.Join(filepath.Base(dir), stateFile), ""); err != nil {
		return nil, err
	}
	return readStateFile(dir)
}

// at is where a file of the job's folder is in the location.
func (j *Job) at(rel string) string { return storage.Join(j.Location, filepath.ToSlash(rel)) }

// up copies files of the job's folder to its location, in order.
func (j *Job) up(rels ...string) error {
	if j.Location == "" {
		return nil
	}
	for _, rel := range rels {
		if err := storage.CopyFile(j.at(rel), filepath.Join(j.Dir, rel)); err != nil {
			return err
		}
	}
	return nil
}

// down brings a file of the location into the job's folder, unless it is there with the SHA-256 sum. Where sum is "", the location's is
// taken, since another machine may have written the file anew.
func (j *Job) down(rel, sum string) error {
	if j.Location == "" {
		return nil
	}
	to := filepath.Join(j.Dir, rel)
	if sum != "" {
		if got, err := storage.SHA256File(to); err == nil && got == sum {
			return nil
		}
	}
	if err := storage.CopyFile(to, j.at(rel)); err != nil {
		return fmt.Errorf("%s: %w", j.at(rel), err)
	}
	return nil
}

// has says whether the location, or the folder of a job without one, has a file.
func (j *Job) has(rel string) (bool, error) {
	if j.Location != "" {
		return storage.Exists(j.at(rel))
	}
	_, err := os.Stat(filepath.Join(j.Dir, rel))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// gone removes a folder of the job's folder from the location, first the file that makes it whole.
func (j *Job) gone(rel, first string) error {
	if j.Location == "" {
		return nil
	}
	if err := storage.Remove(j.at(filepath.Join(rel, first))); err != nil {
		return err
	}
	_, err := storage.RemoveTree(context.Background(), j.at(rel))
	return err
}

// shared is the path of a file that workers agree by.
func (s *Session) shared(rel string) string {
	if s.job.Location != "" {
		return s.job.at(rel)
	}
	return filepath.Join(s.job.Dir, rel)
}

// forget removes the rounds before a step from the location.
func (j *Job) forget(before int) error {
	if j.Location == "" {
		return nil
	}
	old := map[string]bool{}
	if err := storage.List(context.Background(), j.at(roundsDir), func(i storage.Info) error {
		name, _, _ := strings.Cut(strings.TrimPrefix(i.URI, j.at(roundsDir)+"/"), "/")
		var n int
		if _, err := fmt.Sscanf(name, "round-%d", &n); err == nil && n < before {
			old[name] = true
		}
		return nil
	}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if err := j.gone(filepath.Join(roundsDir, name), roundFile); err != nil {
			return err
		}
	}
	return nil
}

// prune is [Prune] of the location.
func (j *Job) prune(keep int) error {
	steps, err := remoteCheckpoints(j.Location)
	if err != nil {
		return err
	}
	for _, step := range outdated(steps, j.Args.SaveTotalLimit, keep) {
		if err := j.gone(filepath.Base(CheckpointDir("", step)), stateFile); err != nil {
			return err
		}
	}
	return nil
}

// parseJob reads a job's JSON.
func parseJob(text string) (Job, error) {
	var j Job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return j, fmt.Errorf("train: the job: %w", err)
	}
	return j.here()
}
