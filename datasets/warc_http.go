package datasets

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// httpResponse takes an answer of HTTP/1 apart (RFC 9112); the status is empty where it is not one.
func httpResponse(block []byte) (status string, h headers, body []byte) {
	b := bufio.NewReader(bytes.NewReader(block))
	at := int64(0)
	line, err := readLine(b, &at)
	if err != nil || !strings.HasPrefix(line, "HTTP/") {
		return "", nil, nil
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return "", nil, nil
	}
	if h, err = readHeaders(b, &at); err != nil {
		return "", nil, nil
	}
	return fields[1], h, block[at:]
}

// decodeBody undoes how an answer's body was sent. Crawlers that store it decoded say so under other names of the headers; of those that
// leave the names as they were, a body that is not in the form that they say is taken as it is.
func decodeBody(h headers, body []byte, most int) ([]byte, error) {
	if strings.Contains(strings.ToLower(h.get("transfer-encoding")), "chunked") {
		if plain, err := dechunk(body); err == nil {
			body = plain
		} else if _, _, ok := chunkSize(body); ok {
			return nil, err
		}
	}
	var r io.Reader
	var err error
	switch coding := strings.ToLower(strings.TrimSpace(h.get("content-encoding"))); {
	case coding == "gzip" || coding == "x-gzip":
		if compressionOf(body) != gzipped {
			return body, nil
		}
		r, err = gzip.NewReader(bytes.NewReader(body))
	case coding == "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(body)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(body)), nil
		}
	case coding == "br":
		r = brotli.NewReader(bytes.NewReader(body))
	default:
		return body, nil
	}
	if err != nil {
		return nil, fmt.Errorf("its body: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case len(out) > most:
		return nil, fmt.Errorf("its body has more than %d bytes when decompressed", most)
	case err != nil && (len(out) > 0 || !bytes.ContainsRune(body[:min(len(body), 256)], '<')):
		return nil, fmt.Errorf("its body: %w", err)
	case err != nil: // it was stored decoded
		return body, nil
	}
	return out, nil
}

// chunkSize reads the line before a chunk, and returns what follows it.
func chunkSize(b []byte) (n int64, rest []byte, ok bool) {
	line, rest, ok := bytes.Cut(b[:min(len(b), 1<<10)], []byte("\n"))
	if !ok {
		return 0, nil, false
	}
	text, _, _ := strings.Cut(strings.TrimSpace(string(line)), ";")
	n, err := strconv.ParseInt(strings.TrimSpace(text), 16, 32)
	return n, b[len(b[:min(len(b), 1<<10)])-len(rest):], err == nil && n >= 0
}

var errChunks = errors.New("its chunks are damaged")

// dechunk joins the chunks of a body (RFC 9112, section 7.1).
func dechunk(b []byte) (out []byte, err error) {
	for {
		n, rest, ok := chunkSize(b)
		switch {
		case !ok || n > int64(len(rest)):
			return nil, errChunks
		case n == 0:
			return out, nil
		}
		out = append(out, rest[:n]...)
		b = bytes.TrimPrefix(bytes.TrimPrefix(rest[n:], []byte("\r")), []byte("\n"))
	}
}
