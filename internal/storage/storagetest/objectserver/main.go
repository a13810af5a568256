// Command objectserver serves the object stores of internal/storage/storagetest as a process of its own:
//
//	objectserver -s3 localhost:9000 -gcs localhost:9001 -buckets in,out -dir FOLDER -fault kind=throttle,every=7,times=-1
//
// Clients find it by AWS_ENDPOINT_URL=http://localhost:9000 and STORAGE_EMULATOR_HOST=localhost:9001. A port of 0 is one that is free; the
// addresses are printed, one a line, when they answer. Faults can be added while it runs: curl -X POST
// 'http://localhost:9000/-/faults?fault=kind=500,method=PUT'.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
)

func main() {
	log.SetFlags(0)
	var faults []storagetest.Fault
	s3At := flag.String("s3", "", "address of the S3 server, as localhost:9000; none is empty")
	gcsAt := flag.String("gcs", "", "address of the Google Cloud Storage server; none is empty")
	dir := flag.String("dir", "", "folder that keeps the objects; memory where it is empty")
	buckets := flag.String("buckets", "bucket", "buckets that exist, with commas between")
	key := flag.String("key", "", "AWS access key that requests must have; any where it is empty")
	const help = "a fault of the servers, as kind=throttle,method=PUT,path=/x,first=3,times=2; may be repeated"
	flag.Func("fault", help, func(v string) error {
		f, err := storagetest.ParseFault(v)
		faults = append(faults, f)
		return err
	})
	flag.Parse()
	if *s3At == "" && *gcsAt == "" {
		log.Fatal("objectserver: name an address: -s3 localhost:9000, or -gcs localhost:9001")
	}
	store := func(name string) *storagetest.Store {
		folder := *dir
		if folder != "" {
			folder = filepath.Join(folder, name)
		}
		s, err := storagetest.NewStore(folder, strings.Split(*buckets, ",")...)
		if err != nil {
			log.Fatal("objectserver: ", err)
		}
		return s
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *s3At != "" {
		s := &storagetest.S3{Store: store("s3"), Key: *key}
		for _, f := range faults {
			s.Add(f)
		}
		serve("s3", *s3At, s.Handler())
	}
	if *gcsAt != "" {
		s := &storagetest.GCS{Store: store("gcs")}
		for _, f := range faults {
			s.Add(f)
		}
		serve("gcs", *gcsAt, s.Handler())
	}
	<-ctx.Done()
}

// serve listens before it returns.
func serve(name, at string, h http.Handler) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		log.Fatal("objectserver: ", err)
	}
	fmt.Printf("%s http://%s\n", name, l.Addr())
	go func() {
		if err := http.Serve(l, h); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal("objectserver: ", err)
		}
	}()
}
