// Package attach fetches the files that attachments refer to: from a folder, over HTTPS, from storage that
// speaks S3, and from the object store of the broker.
//
// The references come from events, so nothing in them is trusted: a path stays below its root, a name on the
// internet goes through the guard, a bucket must be listed. Files are read into memory, which is bounded for
// each file, each message and the whole process; nothing is written to disk. What cannot be had is told with
// why, and the message goes without it: the channel decides when.
package attach

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Opener opens one object of a bucket of the broker's object store. fs.ErrNotExist is in the error's chain
// when there is no such bucket or object. size is -1 when it is not known.
type Opener func(ctx context.Context, bucket, name string) (body io.ReadCloser, size int64, err error)

// source opens one file of a kind of storage. size is -1 when it is not known. The error has a *lack in its
// chain when more is known than that the storage failed.
type source interface {
	open(ctx context.Context, u *url.URL) (body io.ReadCloser, size int64, err error)
}

// Store is a [channels.Files]. Safe for concurrent use.
type Store struct {
	cfg     Config
	sources map[string]source
	schemes string
	memory  *semaphore.Weighted
	// closers are what Close ends.
	closers []func()
}

var _ channels.Files = (*Store)(nil)

// Schemes is part of [channels.Files].
func (s *Store) Schemes() string { return s.schemes }

// Close ends idle connections.
func (s *Store) Close() {
	for _, end := range s.closers {
		end()
	}
}

// lack is an error that says why a file cannot be had.
type lack struct {
	why channels.Lack
	err error
}

func (l *lack) Error() string {
	if l.err == nil {
		return string(l.why)
	}
	return l.err.Error()
}

func (l *lack) Unwrap() error { return l.err }

func lackf(why channels.Lack, format string, args ...any) error {
	return &lack{why, fmt.Errorf(format, args...)}
}

// whyNot reads an error of a source.
func whyNot(err error) channels.Lack {
	if l, ok := errors.AsType[*lack](err); ok {
		return l.why
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return channels.NotFound
	case errors.Is(err, fs.ErrPermission):
		return channels.Denied
	}
	return channels.Unreachable
}

// Fetch is part of [channels.Files]. It takes at most the configured time.
func (s *Store) Fetch(ctx context.Context, tenant string, list []schemas.Attachment) *channels.Fetched {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	out := &channels.Fetched{Files: make([]channels.File, len(list))}
	reserved := s.most(list)
	if err := s.memory.Acquire(ctx, reserved); err != nil {
		for i, a := range list {
			out.Files[i] = missing(a, lackf(channels.Unreachable, "no memory for attachments within the time limit: %w", err))
		}
		return out
	}
	var used int64
	for i, a := range list {
		f, err := s.fetch(ctx, tenant, a, s.cfg.MaxTotalBytes-used)
		if err != nil {
			out.Files[i] = missing(a, err)
			continue
		}
		out.Files[i] = f
		used += int64(f.Size)
	}
	s.memory.Release(reserved - used)
	out.Release = func() { s.memory.Release(used) }
	return out
}

// most is how many bytes the files can have: no more of each is read than its event says.
func (s *Store) most(list []schemas.Attachment) int64 {
	var sum int64
	for _, a := range list {
		sum += s.bound(a)
	}
	return min(sum, s.cfg.MaxTotalBytes)
}

// bound is how many bytes of one file are read at most.
func (s *Store) bound(a schemas.Attachment) int64 {
	if n := int64(a.Size); n > 0 {
		return min(n, s.cfg.MaxFileBytes)
	}
	return s.cfg.MaxFileBytes
}

func missing(a schemas.Attachment, err error) channels.File {
	return channels.Missing(a, whyNot(err), channels.Line(err.Error()))
}

// fetch reads one file of at most room bytes and checks it.
func (s *Store) fetch(ctx context.Context, tenant string, a schemas.Attachment, room int64) (channels.File, error) {
	if executableName(a.Name) {
		return channels.File{}, lackf(channels.Executable, "the name is that of a program")
	}
	if int64(a.Size) > min(s.cfg.MaxFileBytes, room) {
		return channels.File{}, lackf(channels.TooLarge, "%d bytes, as its event says", a.Size)
	}
	u, err := s.address(tenant, a)
	if err != nil {
		return channels.File{}, err
	}
	data, err := s.read(ctx, u, a, room)
	if err != nil {
		return channels.File{}, err
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	switch {
	case a.Size > 0 && len(data) != a.Size:
		return channels.File{}, lackf(channels.Altered, "%d bytes instead of %d", len(data), a.Size)
	case a.SHA256 != "" && a.SHA256 != hash:
		return channels.File{}, lackf(channels.Altered, "its SHA-256 is %s", hash)
	}
	media, err := mediaType(a, data)
	if err != nil {
		return channels.File{}, err
	}
	if len(s.cfg.Types) > 0 && !slices.ContainsFunc(s.cfg.Types, func(p string) bool { return fits(p, media) }) {
		return channels.File{}, lackf(channels.WrongType, "%s is not among attachments.types", media)
	}
	return channels.File{Attached: channels.Attached{Name: a.Name, Type: media, Size: len(data), SHA256: hash}, CID: a.CID, Data: data}, nil
}

// address reads the URL again, whatever stood in the delivery, and keeps tenants apart.
func (s *Store) address(tenant string, a schemas.Attachment) (*url.URL, error) {
	u, err := url.Parse(a.URL)
	if err != nil {
		return nil, lackf(channels.Denied, "the address cannot be read")
	}
	if s.sources[u.Scheme] == nil {
		return nil, lackf(channels.NotSetUp, "attachments from %s are not set up", u.Scheme)
	}
	if a.Linkable() {
		return u, nil
	}
	path := strings.TrimPrefix(u.Path, "/")
	if !fs.ValidPath(path) || path == "." {
		return nil, lackf(channels.Denied, "not a path below the root")
	}
	uploaded := u.Scheme == "object" && u.Host == s.cfg.Object.Upload // whose folders are ours
	if (s.cfg.ByTenant || uploaded) && !strings.HasPrefix(path, tenant+"/") {
		return nil, lackf(channels.Denied, "the file is not in the folder of tenant %s", tenant)
	}
	return u, nil
}

// read reads the whole file, and no more than may be sent of it.
func (s *Store) read(ctx context.Context, u *url.URL, a schemas.Attachment, room int64) ([]byte, error) {
	body, size, err := s.sources[u.Scheme].open(ctx, u)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	most := min(s.bound(a), room)
	tooLong := func(n int64) error {
		if most == int64(a.Size) {
			return lackf(channels.Altered, "more than %d bytes", a.Size)
		}
		return lackf(channels.TooLarge, "at least %d bytes; %d may be sent", n, most)
	}
	if size > most {
		return nil, tooLong(size)
	}
	// The storage's word for the size is only a hint: a liar must not make us take the memory first.
	buf := make([]byte, 0, min(max(size, 512), most, 1<<20)+1)
	for {
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > most:
			return nil, tooLong(int64(len(buf)))
		case errors.Is(err, io.EOF):
			if size >= 0 && int64(len(buf)) != size {
				return nil, lackf(channels.Unreachable, "the storage broke off after %d of %d bytes", len(buf), size)
			}
			return buf, nil
		case err != nil:
			return nil, fmt.Errorf("after %d bytes: %w", len(buf), err)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		if len(buf) == cap(buf) {
			bigger := make([]byte, len(buf), min(int64(2*cap(buf)), most+1))
			copy(bigger, buf)
			buf = bigger
		}
	}
}

// defaultTimeout is for all files of a message together, well within a mail's 60 s.
const defaultTimeout = 20 * time.Second
