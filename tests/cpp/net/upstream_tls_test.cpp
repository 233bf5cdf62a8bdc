// TLS to an upstream, with certificates made on the spot.
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>

#include "net/test_client.hpp"
#include "net/test_server.hpp"

namespace sentinel::net {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using ServerContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

Key make_key() { return {EVP_EC_gen("P-256"), &EVP_PKEY_free}; }

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  ASSERT_NE(extension, nullptr) << value;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by `issuer`, or by itself when that is null.
Certificate make_certificate(const std::string& name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                             const std::string& subject_names, long lasts_seconds = 3600) {
  static long serial = 1;
  Certificate made{X509_new(), &X509_free};
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -7200);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), lasts_seconds);
  X509_set_pubkey(made.get(), key);
  X509_NAME* subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(made.get(), X509_get_subject_name(issuer == nullptr ? made.get() : issuer));
  add_extension(made.get(), NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (!subject_names.empty()) add_extension(made.get(), NID_subject_alt_name, subject_names);
  EXPECT_GT(X509_sign(made.get(), issuer_key, EVP_sha256()), 0);
  return made;
}

class UpstreamTls : public Client {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);  // for the server's side: OpenSSL writes to its socket as it likes
    ca_file_ = write_authority("known", ca_.get());
  }
  void TearDown() override { std::filesystem::remove(ca_file_); }

  static std::string write_authority(const std::string& name, X509* certificate) {
    const std::string path =
        testing::TempDir() + "sentinel_" + name + "_" + std::to_string(::getpid()) + ".pem";
    FILE* file = std::fopen(path.c_str(), "w");
    EXPECT_NE(file, nullptr);
    PEM_write_X509(file, certificate);
    std::fclose(file);
    return path;
  }

  ServerContext server_context(const std::string& subject_names, long lasts_seconds = 3600) {
    ServerContext context{SSL_CTX_new(TLS_server_method()), &SSL_CTX_free};
    const Key key = make_key();
    const Certificate leaf =
        make_certificate("server", key.get(), ca_.get(), ca_key_.get(), subject_names, lasts_seconds);
    SSL_CTX_use_certificate(context.get(), leaf.get());
    SSL_CTX_use_PrivateKey(context.get(), key.get());
    return context;
  }

  Origin tls_origin(const TestServer& server, const std::string& host = "localhost") {
    Origin origin = origin_of(server);
    origin.tls = true;
    origin.host = host;
    origin.ca_file = ca_file_;
    return origin;
  }

  // Shakes hands, then answers every request.
  static TestServer::Script answering(const std::string& reply) {
    return [reply](Peer& peer, int) {
      if (!peer.accept_tls()) return;
      while (!peer.read_request().empty()) peer.send(reply);
    };
  }

  void expect_refused(const Origin& origin, std::string_view part_of_message) {
    Exchange exchange(pool, origin);
    fetch(exchange);
    EXPECT_EQ(exchange.code(), ErrorCode::upstream_error);
    EXPECT_NE(exchange.message().find(part_of_message), std::string::npos) << exchange.message();
    EXPECT_FALSE(exchange.call->sent());
    expect_nothing_open();
  }

  const std::string kReply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  Key ca_key_ = make_key();
  Certificate ca_ = make_certificate("test authority", ca_key_.get(), nullptr, ca_key_.get(), "");
  std::string ca_file_;
};

TEST_F(UpstreamTls, AKnownAuthorityAndTheRightNameAreAccepted) {
  const ServerContext context = server_context("DNS:localhost");
  TestServer server(answering(kReply), context.get());
  for (int i = 0; i < 3; ++i) {
    Exchange exchange(pool, tls_origin(server));
    fetch(exchange, kPost, "body");
    expect_reply(exchange, "hello");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(UpstreamTls, AnAddressIsCheckedAgainstTheAddressesOfTheCertificate) {
  const ServerContext context = server_context("IP:127.0.0.1");
  TestServer server(answering(kReply), context.get());
  Exchange exchange(pool, tls_origin(server, "127.0.0.1"));
  fetch(exchange);
  expect_reply(exchange, "hello");
}

TEST_F(UpstreamTls, S6TheWrongNameIsRefused) {
  const ServerContext context = server_context("DNS:other.example,IP:127.0.0.9");
  TestServer server(answering(kReply), context.get());
  expect_refused(tls_origin(server), "upstream tls: certificate not accepted: hostname mismatch");
  expect_refused(tls_origin(server, "127.0.0.1"),
                 "upstream tls: certificate not accepted: IP address mismatch");
}

TEST_F(UpstreamTls, S6AnUnknownAuthorityAndAnExpiredCertificateAreRefused) {
  const ServerContext context = server_context("DNS:localhost");
  TestServer server(answering(kReply), context.get());
  const Key stranger_key = make_key();
  const Certificate stranger =
      make_certificate("test authority", stranger_key.get(), nullptr, stranger_key.get(), "");
  Origin origin = tls_origin(server);
  origin.ca_file = write_authority("stranger", stranger.get());
  expect_refused(origin, "upstream tls: certificate not accepted: ");
  std::filesystem::remove(origin.ca_file);
  const ServerContext expired = server_context("DNS:localhost", -3600);
  TestServer old(answering(kReply), expired.get());
  expect_refused(tls_origin(old), "certificate has expired");
}

TEST_F(UpstreamTls, WithoutAUsableTrustFileNothingIsDialledBlindly) {
  const ServerContext context = server_context("DNS:localhost");
  TestServer server(answering(kReply), context.get());
  Origin origin = tls_origin(server);
  origin.ca_file.clear();
  origin.trust_files = {"/nonexistent"};
  expect_refused(origin, "no trust file was found");
  origin.ca_file = "/nonexistent";
  expect_refused(origin, "the trust file cannot be used");
}

TEST_F(UpstreamTls, TheFirstTrustFileThatExistsIsUsed) {
  const ServerContext context = server_context("DNS:localhost");
  TestServer server(answering(kReply), context.get());
  Origin origin = tls_origin(server);
  origin.ca_file.clear();
  origin.trust_files = {"/nonexistent", ca_file_};
  Exchange exchange(pool, origin);
  fetch(exchange);
  expect_reply(exchange, "hello");
}

TEST_F(UpstreamTls, OldProtocolVersionsAreRefused) {
  const ServerContext context = server_context("DNS:localhost");
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_1_VERSION);
  TestServer server(answering(kReply), context.get());
  expect_refused(tls_origin(server), "upstream tls: ");
}

TEST_F(UpstreamTls, APeerThatIsNotTlsIsAnErrorOfThatPhase) {
  TestServer server([](Peer& peer, int) {
    peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    peer.wait_for_hang_up();
  });
  expect_refused(tls_origin(server), "upstream tls: ");
}

TEST_F(UpstreamTls, TheConnectDeadlineCoversAHandshakeNobodyAnswers) {
  Signal hang_up;
  TestServer server([&hang_up](Peer& peer, int) {
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, tls_origin(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&server] { return server.connections() == 1; }));
  settle();
  pass(std::chrono::seconds{2});
  turn_until_done(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_timeout);
  EXPECT_EQ(exchange.message(), "upstream connect deadline exceeded in the TLS handshake");
  EXPECT_TRUE(hang_up.wait());
}

TEST_F(UpstreamTls, CancelEndsAHandshakeAtOnce) {
  Signal hang_up;
  TestServer server([&hang_up](Peer& peer, int) {
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, tls_origin(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&server] { return server.connections() == 1; }));
  settle();
  exchange.call->cancel();
  turn_until_done(exchange);
  EXPECT_EQ(exchange.message(), "cancelled");
  EXPECT_TRUE(hang_up.wait());
  expect_nothing_open();
}

TEST_F(UpstreamTls, StreamsAndLargeBodiesPassBothWaysUnderTls12And13) {
  const std::string large(2'000'000, 'x');
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const ServerContext context = server_context("DNS:localhost");
    SSL_CTX_set_min_proto_version(context.get(), version);
    SSL_CTX_set_max_proto_version(context.get(), version);
    TestServer server(
        [&large](Peer& peer, int) {
          if (!peer.accept_tls()) return;
          const std::string request = peer.read_request();
          peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
          peer.send("1e8480\r\n" + request.substr(request.size() - large.size()) + "\r\n0\r\n\r\n");
          peer.wait_for_hang_up();
        },
        context.get());
    Exchange exchange(pool, tls_origin(server));
    fetch(exchange, "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(large.size()) + "\r\n\r\n", large);
    ASSERT_FALSE(exchange.error) << exchange.message();
    EXPECT_TRUE(exchange.body == "hello" + large);
  }
}

TEST_F(UpstreamTls, R7ABodyThatEndsWithoutCloseNotifyIsCutNotWhole) {
  const ServerContext context = server_context("DNS:localhost");
  const auto until_close = [](bool announced) {
    return [announced](Peer& peer, int) {
      if (!peer.accept_tls()) return;
      peer.read_request();
      peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
      if (announced) peer.say_goodbye();
    };
  };
  TestServer honest(until_close(true), context.get());
  Exchange good(pool, tls_origin(honest));
  fetch(good);
  expect_reply(good, "hello");
  TestServer cut(until_close(false), context.get());
  Exchange bad(pool, tls_origin(cut));
  fetch(bad);
  EXPECT_EQ(bad.code(), ErrorCode::upstream_error) << bad.message();
  expect_nothing_open();
}

TEST_F(UpstreamTls, ASecondConnectionResumesTheSession) {
  const ServerContext context = server_context("DNS:localhost");
  std::atomic<int> resumed{0};
  TestServer server(
      [this, &resumed](Peer& peer, int) {
        if (!peer.accept_tls()) return;
        if (peer.resumed()) ++resumed;
        if (!peer.read_request().empty()) peer.send(kReply);
        peer.say_goodbye();
      },
      context.get());
  for (int i = 0; i < 2; ++i) {
    Exchange exchange(pool, tls_origin(server));
    fetch(exchange);
    expect_reply(exchange, "hello");
    expect_nothing_open();
  }
  EXPECT_EQ(resumed, 1);
}

}  // namespace
}  // namespace sentinel::net
