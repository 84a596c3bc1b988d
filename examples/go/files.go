package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	cogreelv1 "cogreel.example/caller/gen/cogreel/v1"
)

// Files go to the store and come from it by HTTP, past the service.

// upload stores a file. What it returns is an input for later requests.
func upload(ctx context.Context, storage cogreelv1.StorageServiceClient, path string) (*cogreelv1.File, error) {
	content, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	information, err := content.Stat()
	if err != nil {
		return nil, err
	}
	contentType := mime.TypeByExtension(filepath.Ext(path))
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	var place *cogreelv1.CreateUploadResponse
	err = retrying(ctx, func(ctx context.Context) error {
		place, err = storage.CreateUpload(ctx, &cogreelv1.CreateUploadRequest{
			FileName:    proto.String(filepath.Base(path)),
			ContentType: contentType,
			Size:        information.Size(),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, place.UploadUrl, content)
	if err != nil {
		return nil, err
	}
	put.ContentLength = information.Size()
	for name, value := range place.Headers {
		put.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(put)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return nil, fmt.Errorf("the store refused %s: HTTP %s %s", path, answer.Status, said)
	}
	return place.File, nil
}

// download fetches a URL to a path, and checks that it came whole.
func download(ctx context.Context, url, path, digest string) error {
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(get)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the video is not to be had: HTTP %s", answer.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, hash), answer.Body)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if found := hex.EncodeToString(hash.Sum(nil)); found != digest {
		return fmt.Errorf("%s has SHA-256 %s, not %s", path, found, digest)
	}
	return nil
}
