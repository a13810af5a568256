package ingest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/usage"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// texts calls each with distinct texts of about 2 KB, of n bytes together.
func texts(n int64, each func(text string) error) error {
	draw := rand.New(rand.NewPCG(19, 0))
	words := make([]string, 20000)
	for i := range words {
		for range 2 + draw.IntN(9) {
			words[i] += string(rune('a' + draw.IntN(26)))
		}
	}
	for n > 0 {
		var b strings.Builder
		for size := 500 + draw.IntN(3000); b.Len() < size; {
			b.WriteString(words[int(float64(len(words))*draw.Float64()*draw.Float64())])
			b.WriteByte(" \n"[max(0, draw.IntN(12)-10)])
		}
		if err := each(b.String()); err != nil {
			return err
		}
		n -= int64(b.Len())
	}
	return nil
}

type textRow struct {
	Text string `parquet:"text"`
}

// writers write texts as a file of each format that is read by blocks: row groups and frames are of 8 MiB of text.
var writers = map[string]func(w io.Writer, bytes int64) error{
	"jsonl": func(w io.Writer, n int64) error {
		return texts(n, func(text string) error {
			line, err := json.Marshal(map[string]string{"text": text})
			if err == nil {
				_, err = w.Write(append(line, '\n'))
			}
			return err
		})
	},
	"parquet": func(w io.Writer, n int64) error {
		p, held := parquet.NewGenericWriter[textRow](w, parquet.Compression(&parquet.Zstd)), 0
		if err := texts(n, func(text string) error {
			_, err := p.Write([]textRow{{text}})
			if held += len(text); err == nil && held > 8<<20 {
				held, err = 0, p.Flush()
			}
			return err
		}); err != nil {
			return err
		}
		return p.Close()
	},
	"jsonl.zst": func(w io.Writer, n int64) error {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		held := 0
		if err := texts(n, func(text string) error {
			line, err := json.Marshal(map[string]string{"text": text})
			if err != nil {
				return err
			}
			_, err = z.Write(append(line, '\n'))
			if held += len(text); err == nil && held > 8<<20 {
				held, err = 0, z.Close()
				z.Reset(w)
			}
			return err
		}); err != nil {
			return err
		}
		return z.Close()
	},
}

// BenchmarkRead reads one file of ADAPTFLOW_READ_MB megabytes of text (32) in each format, and nothing else, and reports the seconds of
// the processors and of the clock: of 400 MB on two processors that have nothing else to do, 1.6 of the one for each of the other at
// least. ADAPTFLOW_READ_WHOLE=1 reads it as one block, to compare with.
//
//	ADAPTFLOW_READ_MB=400 GOMAXPROCS=2 go test -run - -bench Read -benchtime 1x ./transforms/ingest
func BenchmarkRead(b *testing.B) {
	mb := int64(32)
	if v := os.Getenv("ADAPTFLOW_READ_MB"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		mb = n
	}
	size := int64(0)
	if os.Getenv("ADAPTFLOW_READ_WHOLE") != "" {
		size = 1 << 60
	}
	for _, format := range []string{"jsonl", "parquet", "jsonl.zst"} {
		dir := b.TempDir()
		path := filepath.Join(dir, "texts."+format)
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		w := bufio.NewWriterSize(f, 1<<20)
		if err := writers[format](w, mb*1e6); err != nil {
			b.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		b.Run(format, func(b *testing.B) {
			b.SetBytes(mb * 1e6)
			var wall, cpu time.Duration
			for i := range b.N {
				out := filepath.Join(dir, fmt.Sprint(i))
				p, s := beam.NewPipelineWithRoot()
				fn := &ReadFn{StagedDir: out, RejectsDir: out, BlockBytes: size}
				read := readGroups(s, fn, File{Path: path, Source: format})
				began, used := time.Now(), usage.CPU()
				if err := jobs.Prism(b.Context(), p, "ingest"); err != nil {
					b.Fatal(err)
				}
				wall, cpu = wall+time.Since(began), cpu+usage.CPU()-used
				var sum Totals
				err := json.Unmarshal([]byte(read.totals()[0].Value.(string)), &sum)
				if err != nil || sum.Kept == 0 || sum.Kept != sum.Read {
					b.Fatalf("%+v, %v", sum, err)
				}
				files := map[string]bool{}
				for _, e := range read.groups() {
					files[e.Value.(Group).Path] = true
				}
				b.ReportMetric(float64(len(files)), "blocks")
				if err := os.RemoveAll(storage.Local(out)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(wall.Seconds()/float64(b.N), "wall-s/op")
			b.ReportMetric(cpu.Seconds()/wall.Seconds(), "cpu/wall")
		})
	}
}
