package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// OpenObject opens one object of a bucket of the broker's object store; size is how many bytes it has. The
// client checks its SHA-256 at the end of the reading. fs.ErrNotExist is in the error's chain when there is no
// such bucket or object.
func (b *Broker) OpenObject(ctx context.Context, bucket, name string) (body io.ReadCloser, size int64, err error) {
	store, err := b.JS.ObjectStore(ctx, bucket)
	if err != nil {
		return nil, 0, absent(err, bucket)
	}
	object, err := store.Get(ctx, name)
	if err != nil {
		return nil, 0, absent(err, bucket)
	}
	info, err := object.Info()
	if err != nil {
		_ = object.Close()
		return nil, 0, err
	}
	return object, int64(info.Size), nil //nolint:gosec // a size within a stream
}

func absent(err error, bucket string) error {
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("bucket %s: %w: %w", bucket, fs.ErrNotExist, err)
	}
	return err
}

// MakeBucket makes sure that a bucket of the object store is there. One that is there already is left as it is.
func (b *Broker) MakeBucket(ctx context.Context, name string, maxAge time.Duration, maxBytes int64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*apiTimeout)
	defer cancel()
	_, err := b.JS.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: name, Description: "Yizhan attachments", TTL: maxAge, MaxBytes: maxBytes, Replicas: b.cfg.Replicas, Storage: jetstream.FileStorage,
	})
	if errors.Is(err, jetstream.ErrBucketExists) {
		return nil
	}
	return err
}

// PutObject stores an object whose name says its content. One that was stored within the last fresh is left
// where it is, so that nobody who reads it is disturbed. The error is [ErrFull] when the bucket is.
func (b *Broker) PutObject(ctx context.Context, bucket, name string, data []byte, fresh time.Duration) error {
	store, err := b.JS.ObjectStore(ctx, bucket)
	if err != nil {
		return absent(err, bucket)
	}
	if info, err := store.GetInfo(ctx, name); err == nil && time.Since(info.ModTime) < fresh {
		return nil
	}
	_, err = store.Put(ctx, jetstream.ObjectMeta{Name: name}, bytes.NewReader(data))
	if code, text := apiCode(err); code == codeStoreFailed && strings.Contains(text, "maximum") {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
