package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path"
	"runtime"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// SchemaVersion is the version of the shards' schema, in their metadata as "schema_version".
const SchemaVersion = 1

// KindLM is the kind of shards of plain language modelling.
const KindLM = "lm"

// DefaultRowGroupTokens bounds a row group of a shard: the writer begins a new one once it holds this many tokens.
const DefaultRowGroupTokens = 1 << 18

// ShardMeta is the key-value metadata of a shard file.
type ShardMeta struct {
	Kind          string   // KindLM, KindClassification, KindPreference, KindUnpaired or KindPrompt
	Labels        []string // the classes' names by number, of KindClassification
	TokenizerHash string
	TemplateHash  string // "" when no chat template was applied
	// SequenceLength is the packing length in tokens.
	SequenceLength   int
	Packing          string
	IsolateDocuments bool
	Seed             uint64
	Version          string // adaptflow's version
}

func (m ShardMeta) pairs() [][2]string {
	pairs := [][2]string{
		{"schema_version", strconv.Itoa(SchemaVersion)}, {"kind", m.Kind}, {"tokenizer_hash", m.TokenizerHash},
		{"template_hash", m.TemplateHash},
		{"sequence_length", strconv.Itoa(m.SequenceLength)}, {"packing", m.Packing},
		{"isolate_documents", strconv.FormatBool(m.IsolateDocuments)},
		{"seed", strconv.FormatUint(m.Seed, 10)}, {"version", m.Version},
	}
	if m.Labels != nil {
		pairs = append(pairs, [2]string{"label_names", string(encode(m.Labels))})
	}
	return pairs
}

type shardSpan struct {
	Start int32 `parquet:"start"`
	End   int32 `parquet:"end"`
}

// shardRow gives the columns, their order and their types. Labels are packed as differences: those of no loss take no room, and the others,
// which are mostly the ids once more, a tenth of a shard more than plain ones do but half of the time of compressing.
type shardRow struct {
	InputIDs  []int32     `parquet:"input_ids,list"`
	Labels    []int32     `parquet:"labels,list" parquet-element:",delta"`
	DocStarts []int32     `parquet:"doc_starts,list"`
	DocIDs    []string    `parquet:"doc_ids,list"`
	DocSpans  []shardSpan `parquet:"doc_spans,list"`
	Sources   []string    `parquet:"sources,list"`
	Key       *string     `parquet:"key,optional"`
}

// RowGroupInfo describes a row group of a shard.
type RowGroupInfo struct {
	Rows       int64 `json:"rows"`
	Tokens     int64 `json:"tokens"`
	Supervised int64 `json:"supervised"` // positions that a loss is taken on
}

// ShardInfo describes a finished shard file.
type ShardInfo struct {
	Path       string         `json:"path"`
	Rows       int64          `json:"rows"`
	Tokens     int64          `json:"tokens"`
	Supervised int64          `json:"supervised"`
	RowGroups  []RowGroupInfo `json:"row_groups"`
	SHA256     string         `json:"sha256"`
}

// ShardWriter streams sequences into a Parquet shard. It holds a row group, and as many more as there are processors, on each of which one
// is encoded; its bytes depend on the sequences and metadata alone.
type ShardWriter struct {
	file    *storage.File
	w       *parquet.GenericWriter[shardRow]
	info    ShardInfo
	group   RowGroupInfo
	rows    []shardRow // of the group
	pending []*encodedGroup
	// RowGroupTokens may be set before the first Write.
	RowGroupTokens int64
	// NameByContent puts the beginning of the content's hash into the file's name, "train-00000-of-00004-0123456789ab.parquet": on an
	// object store, where nothing is renamed into its place, no name is then written twice with different bytes. It may be set before
	// Close.
	NameByContent bool
}

// writerOptions are those of every Parquet file written here.
func writerOptions() []parquet.WriterOption {
	return []parquet.WriterOption{
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest, Concurrency: 1}),
		parquet.CreatedBy("adaptflow", "", ""), parquet.DataPageVersion(1), parquet.PageBufferSize(256 << 10),
		parquet.MaxRowsPerRowGroup(math.MaxInt32),
	}
}

// CreateShard begins a shard file at path; nothing is visible there before Close.
func CreateShard(path string, meta ShardMeta) (*ShardWriter, error) {
	f, err := storage.Create(path)
	if err != nil {
		return nil, err
	}
	opts := writerOptions()
	for _, kv := range meta.pairs() {
		opts = append(opts, parquet.KeyValueMetadata(kv[0], kv[1]))
	}
	return &ShardWriter{file: f, w: parquet.NewGenericWriter[shardRow](f, opts...), info: ShardInfo{Path: path},
		RowGroupTokens: DefaultRowGroupTokens}, nil
}

// Write adds a sequence, which must be valid ([Sequence.Validate]) and not change before Close.
func (w *ShardWriter) Write(s *Sequence) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("%s row %d: %w", w.info.Path, w.info.Rows+w.group.Rows, err)
	}
	row := shardRow{InputIDs: s.InputIDs, Labels: s.Labels, DocStarts: s.DocStarts, DocIDs: s.DocIDs, Sources: s.Sources}
	row.DocSpans = make([]shardSpan, len(s.DocSpans))
	for i, p := range s.DocSpans {
		row.DocSpans[i] = shardSpan{p[0], p[1]}
	}
	if key := s.Key; key != "" {
		row.Key = &key
	}
	w.rows = append(w.rows, row)
	w.group.Rows++
	w.group.Tokens += int64(len(s.InputIDs))
	w.group.Supervised += int64(s.Supervised())
	if w.group.Tokens >= w.RowGroupTokens {
		return w.flush()
	}
	return nil
}

// flush begins to encode the row group.
func (w *ShardWriter) flush() error {
	if w.group.Rows == 0 {
		return nil
	}
	w.info.RowGroups = append(w.info.RowGroups, w.group)
	w.info.Rows += w.group.Rows
	w.info.Tokens += w.group.Tokens
	w.info.Supervised += w.group.Supervised
	w.pending = append(w.pending, encodeGroup(w.rows))
	w.group, w.rows = RowGroupInfo{}, nil
	return w.commit(runtime.GOMAXPROCS(0))
}

// commit writes encoded row groups in their order until at most most are pending.
func (w *ShardWriter) commit(most int) error {
	for len(w.pending) > most {
		g := w.pending[0]
		w.pending = w.pending[1:]
		<-g.done
		if g.err == nil {
			_, g.err = w.w.WriteRowGroup(g.rows)
		}
		if g.err != nil {
			return fmt.Errorf("%s: %w", w.info.Path, g.err)
		}
	}
	return nil
}

// encodedGroup is a row group as the only one of a Parquet file in memory, whose pages a writer of the same settings takes over as they
// are.
type encodedGroup struct {
	done chan struct{}
	rows parquet.RowGroup
	err  error
}

func encodeGroup(rows []shardRow) *encodedGroup {
	g := &encodedGroup{done: make(chan struct{})}
	go func() {
		defer close(g.done)
		defer guard(&g.err)
		var b bytes.Buffer
		w := parquet.NewGenericWriter[shardRow](&b, writerOptions()...)
		if _, g.err = w.Write(rows); g.err != nil {
			return
		}
		if g.err = w.Close(); g.err != nil {
			return
		}
		f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()), parquet.SkipBloomFilters(true))
		if g.err = err; err == nil {
			g.rows = f.RowGroups()[0]
		}
	}()
	return g
}

// Close finishes the file, makes it visible and describes it.
func (w *ShardWriter) Close() (ShardInfo, error) {
	defer w.file.Abort()
	if err := errors.Join(w.flush(), w.commit(0)); err != nil {
		return ShardInfo{}, err
	}
	if err := w.w.Close(); err != nil {
		return ShardInfo{}, fmt.Errorf("%s: %w", w.info.Path, err)
	}
	var err error
	if w.info.SHA256, err = w.file.SHA256(); err != nil {
		return ShardInfo{}, err
	}
	if w.NameByContent {
		ext := path.Ext(w.info.Path)
		w.info.Path = strings.TrimSuffix(w.info.Path, ext) + "-" + w.info.SHA256[:12] + ext
		w.file.SetPath(w.info.Path)
	}
	return w.info, w.file.Commit()
}

// Abort drops the file. After Close it does nothing.
func (w *ShardWriter) Abort() { w.file.Abort() }
