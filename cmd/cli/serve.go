package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/quant"
	"github.com/adaptflow/adaptflow/serve"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// serving are the flags of serve.
type serving struct {
	o                       serve.Options
	adapters                []string
	listen, key, keys       string
	insecure, requests      bool
	memory, adapterMemory   int64
	origins                 []string
	pooling, model, dtype   string
	cache                   string
	drain                   time.Duration
	maxLen, maxSeqs, maxOut int
}

func serveCommand() *cobra.Command {
	var s serving
	c := &cobra.Command{Use: "serve", Args: cobra.NoArgs,
		Short: "Serve a base model and many adapters over an OpenAI-compatible HTTP API",
		Long: `Serve answers /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models, /tokenize, /detokenize, /tokenizer_info, /health and /metrics.
A request's model is the base's name or an adapter's; requests of all adapters share passes over the base, and no bit of an answer depends on
what else is asked. An adapter is loaded on its first request. --adapter also takes the folder of a run; serve follows that of a continual run.

  adaptflow serve --model base --adapters adapters/ --adapter support=adaptflow-out/run-1 --api-key-file keys.txt

A line of --api-key-file is a key and the names of models that are its own (patterns such as team-*), all without any.`,
		RunE: func(c *cobra.Command, _ []string) error { return s.run(c.Context()) }}
	f := c.Flags()
	f.StringVar(&s.model, "model", modelDefault, modelHelp)
	f.StringVar(&s.o.Name, "served-model-name", "", "name of the base model (default that of its folder)")
	f.StringVar(&s.o.Adapters.Dir, "adapters", "",
		"folder of adapters, each by the name of its own folder, or by key where a run made one a key")
	f.StringArrayVar(&s.adapters, "adapter", nil, "NAME=FOLDER of an adapter, or of a run that ends with one; repeat for more")
	f.StringVar(&s.dtype, "dtype", "", "how the weights are stored: a dtype such as bfloat16, or auto (default float32)")
	f.StringVar(&s.cache, "cache-dtype", "float32", "storage of keys and values: float32, or bfloat16, half the memory, which rounds them")
	f.StringVar(&s.o.LoadFrom, "load-adapters-from", "",
		"folder whose adapters clients may load and unload at run time (/v1/load_lora_adapter), with a key that sees all models")
	f.StringVar(&s.o.Template, "chat-template", "", "file with a chat template in place of the models' own")
	f.StringVar(&s.pooling, "pooling", string(infer.PoolMean), "how /v1/embeddings makes one vector of a text's tokens: mean or lasttoken")
	f.StringVar(&s.listen, "listen", "127.0.0.1:8000", "HOST:PORT to listen on; port 0 takes a free one")
	f.StringVar(&s.key, "api-key", "", "key that clients must send (default the environment's ADAPTFLOW_API_KEY)")
	f.StringVar(&s.keys, "api-key-file", "", "file of keys, each with the names of models that are its own")
	f.BoolVar(&s.insecure, "insecure", false, "listen to other machines without a key")
	f.StringSliceVar(&s.origins, "allow-origin", nil, "origin of web pages that may ask (CORS), or *")
	f.Int64Var(&s.memory, "memory-limit", 0, "MiB for the whole process; 0 for none")
	f.Int64Var(&s.adapterMemory, "adapter-memory", 256, "MiB for the adapters that are in memory at a time")
	f.IntVar(&s.maxLen, "max-model-len", 0, "tokens of a sequence, prompt and answer (default the model's positions, at most 8192)")
	f.IntVar(&s.maxSeqs, "max-num-seqs", 16, "sequences that are generated at a time")
	f.IntVar(&s.maxOut, "max-queue", 1024, "sequences that wait, at most; beyond them a request gets 429")
	f.DurationVar(&s.drain, "drain", 30*time.Second, "time that requests in progress have to finish when the server stops")
	f.BoolVar(&s.requests, "log-requests", false, "log each request to stderr, without its text")
	return c
}

// readKeys are the keys that clients must have.
func (s *serving) readKeys() (keys serve.Keys, err error) {
	if s.key == "" {
		s.key = os.Getenv("ADAPTFLOW_API_KEY")
	}
	if s.key != "" {
		if err := keys.Add(s.key); err != nil {
			return keys, usageError{err}
		}
	}
	if s.keys != "" {
		if err := keys.ReadKeys(s.keys); err != nil {
			return keys, usageError{err}
		}
	}
	return keys, nil
}

// readAdapters puts the adapters that the flags name into the options.
func (s *serving) readAdapters() (err error) {
	for _, f := range []struct{ flag, at string }{{"--load-adapters-from", s.o.LoadFrom}, {"--adapters", s.o.Adapters.Dir}} {
		if f.at == "" {
			continue
		}
		if info, err := os.Stat(f.at); err != nil || !info.IsDir() {
			return usage("%s %s: want a folder", f.flag, f.at)
		}
	}
	if s.o.LoadFrom != "" {
		if s.o.LoadFrom, err = filepath.Abs(s.o.LoadFrom); err != nil {
			return err
		}
	}
	for _, a := range s.adapters {
		n := infer.ParseNamed(a)
		if n.Name == "" || n.Dir == "" {
			return usage("--adapter %q: want NAME=FOLDER", a)
		}
		s.o.Adapters.Named = append(s.o.Adapters.Named, n)
	}
	if s.o.Adapters.Dir != "" {
		s.o.Adapters.ByKey = perkey.InitFolder
	}
	return nil
}

func (s *serving) run(ctx context.Context) error {
	keys, err := s.readKeys()
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(s.listen)
	if err != nil {
		return usage("--listen %q: want HOST:PORT", s.listen)
	}
	if keys.Open() && !loopback(host) && !s.insecure {
		return usage("--listen %s lets other machines in: set --api-key or --api-key-file, or --insecure to let everybody in", s.listen)
	}
	if p := infer.Pooling(s.pooling); p != infer.PoolMean && p != infer.PoolLast {
		return usage("--pooling %q: want %s or %s", s.pooling, infer.PoolMean, infer.PoolLast)
	}
	if _, err := quant.ParseSpec(train.ResolveDType(s.dtype)); err != nil {
		return usage("--dtype: %w", err)
	}
	if s.o.CacheDType, err = infer.ParseCacheDType(s.cache); err != nil {
		return usage("--cache-dtype: %v", err)
	}
	if err := s.readAdapters(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	if s.o.Model, err = openModel(s.model); err != nil {
		return err
	}
	if s.o.Name == "" {
		s.o.Name = strings.TrimSuffix(filepath.Base(filepath.Clean(s.model[strings.LastIndexByte(s.model, ':')+1:])), ".gguf")
	}
	log := structured
	if log == nil {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	s.o.DType, s.o.Log, s.o.MemoryLimit, s.o.AdapterMemory = s.dtype, log, s.memory<<20, s.adapterMemory<<20
	s.o.Context, s.o.Sequences, s.o.Queue = s.maxLen, s.maxSeqs, s.maxOut
	e, err := serve.NewLive(s.o)
	if err != nil {
		return err
	}
	defer e.Close()
	server := serve.New(e)
	server.Keys, server.Origins, server.Pooling, server.Loads = keys, s.origins, infer.Pooling(s.pooling), s.o.LoadFrom != ""
	if s.requests {
		server.Log = log
	}
	say("memory: %s", e.Plan())
	if keys.Open() && !loopback(host) {
		go warn(ctx, s.listen)
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	return server.Serve(ctx, l, s.drain)
}

// warn says each minute that everybody is let in.
func warn(ctx context.Context, at string) {
	for {
		say("warning: everybody who reaches %s is let in, as --insecure says: set --api-key", at)
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return
		}
	}
}

// loopback says whether a host is this machine alone.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
