package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

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
