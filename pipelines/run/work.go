package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// A run whose output is on an object store works at a location: staged records, checkpoints, rounds, the records of its stages, and the
// folders that workers need, by their content. Workers share it and nothing else, and a driver on another machine goes on from it. What
// people want of the run is published beside it.

// workFolder is the work location in an output on an object store, unless Run.Work names another.
const workFolder = ".work"

// The folders of a work location.
const (
	workFolders     = "folders" // what was pushed: see internal/pulled
	workInputs      = "inputs"  // local input files
	workCheckpoints = "checkpoints"
	workStages      = "stages"
	workScores      = ".scores" // what evaluations found, until the driver has it
)

// inputPrefix begins the names of local input files there.
const inputPrefix = "input"

// leaseTime is how long a driver may be silent before another may take its place.
const leaseTime = 30 * time.Second

// openWork takes the work location for this driver, and brings the records of stages of a driver before it to this machine.
func (r *Run) openWork(ctx context.Context) error {
	if r.Work == "" {
		r.Work = storage.Join(r.store, workFolder)
	}
	r.pushed = map[string]string{}
	if r.Runner.Dry() {
		return nil
	}
	if _, err := storage.OpenLocation(ctx, r.Work, "adaptflow "+version.Version); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a machine"
	}
	if r.lease, err = storage.Hold(ctx, storage.Join(r.Work, "driver"+storage.LeaseExt), fmt.Sprintf("%s, process %d", host, os.Getpid()),
		leaseTime); err != nil {
		if errors.Is(err, storage.ErrLocked) {
			return fmt.Errorf("%w: %w", storage.ErrInUse, err)
		}
		return err
	}
	return r.restore()
}

// restore brings the records of stages at the work location to this machine.
func (r *Run) restore() error {
	if r.Runner.Dry() {
		return nil
	}
	files, err := storage.Glob(storage.Join(r.Work, workStages, "*"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range files {
		if err := storage.CopyFile(filepath.Join(r.Output, "stages", path.Base(f)), f); err != nil {
			return err
		}
	}
	return nil
}

// UnderLease is ctx, which ends also when another driver has taken the location.
func (r *Run) UnderLease(ctx context.Context) (context.Context, func()) {
	if r.lease == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.lease.Context(), func() { cancel(r.lease.Err()) })
	return ctx, func() { stop(); cancel(nil) }
}

// Elsewhere says that the run works at a location, and not in a folder of this machine.
func (r *Run) Elsewhere() bool { return r.Work != "" }

// Held is nil while this driver may write what only one may: of a run at a location, while its lease holds.
func (r *Run) Held() error {
	if r.lease == nil {
		return nil
	}
	return r.lease.Err()
}

// Keep copies a record of a stage to the work location.
func (r *Run) Keep(file string) error {
	if r.Work == "" {
		return nil
	}
	if err := r.Held(); err != nil {
		return err
	}
	return storage.CopyFile(storage.Join(r.Work, workStages, filepath.Base(file)), file)
}

// WorkPath is where something that workers share is: in the work location, or in the output folder of a run that has none.
func (r *Run) WorkPath(elem ...string) string {
	if r.Work != "" {
		return storage.Join(r.Work, elem...)
	}
	return filepath.Join(append([]string{r.Output}, elem...)...)
}

// apart says whether the run has workers that share the work location and no folder of this machine.
func (r *Run) apart() bool { return r.Work != "" && r.Runner.Remote() }

// Shared is how workers find a local folder: by its path, or, of a run with a work location, by a reference to what it holds.
func (r *Run) Shared(ctx context.Context, dir string) (string, error) {
	if !r.apart() || dir == "" || pulled.IsRef(dir) || !storage.IsLocal(dir) {
		return dir, nil
	}
	if ref := r.pushed[dir]; ref != "" {
		return ref, nil
	}
	push := pulled.Push
	if r.Runner.Dry() {
		push = func(_ context.Context, dir, location string) (string, error) { return pulled.Refer(dir, location) }
	}
	ref, err := push(ctx, dir, storage.Join(r.rootWork(), workFolders))
	if err != nil {
		return "", err
	}
	r.pushed[dir] = ref
	return ref, nil
}

// sharedFile is how workers find an input file: by its path, or, of a local file of a run with a work location, by a copy there whose name
// ends as the file's does, since that tells its format.
func (r *Run) sharedFile(ctx context.Context, file string) (string, error) {
	if !r.apart() || !storage.IsLocal(file) {
		return file, nil
	}
	if ref := r.pushed[file]; ref != "" {
		return ref, nil
	}
	_, ext, dotted := strings.Cut(filepath.Base(file), ".")
	if dotted {
		ext = "." + ext
	}
	folder := storage.Join(r.rootWork(), workInputs)
	p, err := r.putInput(ctx, folder, ext, storage.Local(file))
	if err != nil {
		return "", err
	}
	r.pushed[file] = storage.Join(folder, p.Name)
	return r.pushed[file], nil
}

// putInput copies a local input file to a folder of the work location; a dry run says what it would be there.
func (r *Run) putInput(ctx context.Context, folder, ext, file string) (storage.Part, error) {
	if r.Runner.Dry() {
		sum, err := storage.SHA256File(file)
		return storage.PartOf(inputPrefix, ext, 0, sum), err
	}
	f, err := storage.OpenFile(file)
	if err != nil {
		return storage.Part{}, err
	}
	defer f.Close()
	return storage.PutPart(ctx, folder, inputPrefix, ext, f)
}

// ForWorkers makes a job one of workers that share the work location alone.
func (r *Run) ForWorkers(ctx context.Context, job train.Job) (_ train.Job, err error) {
	if r.Work == "" {
		return job, nil
	}
	job.Dir, job.Location, job.BaseName = "", storage.Join(r.Work, workCheckpoints), ""
	job.Config = maps.Clone(job.Config)
	for k, v := range job.Config {
		if v == r.BaseName() {
			job.Config[k] = peft.BaseMark
		}
	}
	refs := []*string{&job.Model, &job.InitAdapter, &job.Task.Embeddings}
	job.Teachers = append([]string(nil), job.Teachers...)
	for i := range job.Teachers {
		refs = append(refs, &job.Teachers[i])
	}
	for _, ref := range refs {
		if *ref, err = r.Shared(ctx, *ref); err != nil {
			return job, err
		}
	}
	return job, nil
}

// progress is the job by which the run's checkpoints are found.
func (r *Run) progress() train.Job {
	if r.Work == "" {
		return train.Job{Dir: filepath.Join(r.Output, "checkpoints")}
	}
	return train.Job{Location: storage.Join(r.Work, workCheckpoints)}
}

// sweepWork removes from the work location of a finished run what no mending needs.
func (r *Run) sweepWork(ctx context.Context) error {
	if r.Work == "" {
		return nil
	}
	gone := map[string]bool{}
	if err := storage.List(ctx, r.Work, func(i storage.Info) error {
		name, _, deep := strings.Cut(strings.TrimPrefix(i.URI, strings.TrimRight(r.Work, "/")+"/"), "/")
		if deep && (strings.HasPrefix(name, ".staged-") || name == workScores || name == workFolders || name == workInputs) {
			gone[name] = true
		}
		return nil
	}); err != nil {
		return err
	}
	for name := range gone {
		if _, err := storage.RemoveTree(ctx, storage.Join(r.Work, name)); err != nil {
			return err
		}
	}
	dir, err := r.progress().Place() // this machine's copies of checkpoints
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
