#include "files.h"

#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>

#include <curl/curl.h>
#include <openssl/evp.h>

#include "retry.h"

namespace cogreel_caller {
namespace {

using Curl = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using CurlHeaders = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;
using Digest = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;
using OpenFile = std::unique_ptr<std::FILE, decltype(&std::fclose)>;

// A file that is being downloaded.
struct Download {
  OpenFile file;
  Digest digest;
};

OpenFile open_file(const std::string& path, const char* mode) {
  OpenFile file(std::fopen(path.c_str(), mode), &std::fclose);
  if (!file) throw std::runtime_error(path + " cannot be opened");
  return file;
}

Curl request(const std::string& url) {
  Curl curl(curl_easy_init(), &curl_easy_cleanup);
  if (!curl) throw std::runtime_error("libcurl cannot be used");
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_FAILONERROR, 1L);
  return curl;
}

// Sends it; throws what went wrong.
void perform(const Curl& curl, const std::string& problem) {
  const CURLcode code = curl_easy_perform(curl.get());
  if (code == CURLE_OK) return;
  long http = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &http);
  const bool refused = code == CURLE_HTTP_RETURNED_ERROR;
  throw std::runtime_error(problem + ": " + (refused ? "HTTP " + std::to_string(http) : curl_easy_strerror(code)));
}

size_t write_chunk(const char* chunk, size_t size, size_t count, void* to) {
  auto* download = static_cast<Download*>(to);
  EVP_DigestUpdate(download->digest.get(), chunk, size * count);
  return std::fwrite(chunk, size, count, download->file.get());
}

std::string hex_of(const Digest& digest) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(digest.get(), bytes, &size);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    char pair[3];
    std::snprintf(pair, sizeof pair, "%02x", bytes[i]);
    hex += pair;
  }
  return hex;
}

std::string content_type_of(const std::filesystem::path& path) {
  static const std::map<std::string, std::string> types = {
      {".png", "image/png"}, {".jpg", "image/jpeg"}, {".mp4", "video/mp4"}};
  const auto found = types.find(path.extension().string());
  return found == types.end() ? "application/octet-stream" : found->second;
}

}  // namespace

v1::File upload(const Connection& connection, const std::string& path) {
  const auto content = open_file(path, "rb");
  v1::CreateUploadRequest description;
  description.set_file_name(std::filesystem::path(path).filename().string());
  description.set_content_type(content_type_of(path));
  description.set_size(static_cast<int64_t>(std::filesystem::file_size(path)));
  const auto place =
      retrying(connection, connection.storage(), &v1::StorageService::Stub::CreateUpload, description);
  const auto put = request(place.upload_url());
  CurlHeaders headers(nullptr, &curl_slist_free_all);
  for (const auto& [name, value] : place.headers()) {
    headers.reset(curl_slist_append(headers.release(), (name + ": " + value).c_str()));
  }
  curl_easy_setopt(put.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(put.get(), CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(put.get(), CURLOPT_READDATA, content.get());
  curl_easy_setopt(put.get(), CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(description.size()));
  perform(put, "the store refused " + path);
  return place.file();
}

void download(const std::string& url, const std::string& path, const std::string& sha256) {
  Download made{open_file(path, "wb"), Digest(EVP_MD_CTX_new(), &EVP_MD_CTX_free)};
  EVP_DigestInit_ex(made.digest.get(), EVP_sha256(), nullptr);
  const auto get = request(url);
  curl_easy_setopt(get.get(), CURLOPT_WRITEFUNCTION, write_chunk);
  curl_easy_setopt(get.get(), CURLOPT_WRITEDATA, &made);
  perform(get, "the video is not to be had");
  if (std::fclose(made.file.release()) != 0) throw std::runtime_error(path + " cannot be written");
  const auto found = hex_of(made.digest);
  if (found != sha256) throw std::runtime_error(path + " has SHA-256 " + found + ", not " + sha256);
}

}  // namespace cogreel_caller
