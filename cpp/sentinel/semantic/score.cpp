#include "sentinel/semantic/score.hpp"

#include <algorithm>
#include <cmath>

namespace sentinel::semantic {
namespace {

struct Scale {
  std::string_view name;
  float mean;
  float width;
  double prior;      // weight of the standardised feature
  double precision;  // of the normal prior around it: how much evidence it takes to move it
};

// Means and widths are typical values. Prior weights say what is known before any data: nearness, agreement of the
// neighbours and shared rare words speak for one answer, what stands on one side only speaks against it.
constexpr std::array<Scale, kFeatures> kScales{{
    {"bias", 0.0F, 1.0F, 0.5, 1.0},           {"cosine", 0.75F, 0.12F, 0.7, 4.0},
    {"cosine_cubed", 0.45F, 0.2F, 0.5, 4.0},  {"votes", 0.7F, 0.28F, 1.0, 4.0},
    {"margin", 0.08F, 0.1F, 0.6, 4.0},        {"group_size", 2.0F, 1.2F, 0.2, 4.0},
    {"accuracy", 0.6F, 0.15F, 0.3, 4.0},      {"words", 0.35F, 0.2F, 0.3, 4.0},
    {"rarest_asked", 0.6F, 0.25F, -0.3, 4.0}, {"rarest_stored", 0.6F, 0.25F, -0.1, 4.0},
    {"trigrams", 0.4F, 0.18F, 0.2, 4.0},      {"mismatches", 0.1F, 0.3F, -0.2, 4.0},
    {"length_ratio", 0.7F, 0.2F, 0.1, 4.0},   {"same_first", 0.4F, 0.5F, 0.05, 4.0},
    {"centre", 0.75F, 0.12F, 0.5, 4.0},       {"centre_margin", 0.08F, 0.1F, 0.6, 4.0},
    {"swap", 0.5F, 0.25F, -0.2, 4.0},         {"alone", 0.2F, 0.4F, -1.0, 100.0},
    {"alone_words", 0.0F, 1.0F, 1.3, 100.0},  {"alone_cosine", 0.0F, 1.0F, 0.5, 100.0},
}};

using Vector = std::array<double, kFeatures>;
using Matrix = std::array<Vector, kFeatures>;

// Solves a symmetric positive definite system by Cholesky's decomposition; false if it is none.
bool solve(Matrix& a, Vector& b) {
  for (std::size_t i = 0; i < kFeatures; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = a[i][j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i][k] * a[j][k];
      if (i == j && !(sum > 0)) return false;
      a[i][j] = i == j ? std::sqrt(sum) : sum / a[j][j];
    }
  }
  for (std::size_t i = 0; i < kFeatures; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i][k] * b[k];
    b[i] /= a[i][i];
  }
  for (std::size_t i = kFeatures; i-- > 0;) {
    for (std::size_t k = i + 1; k < kFeatures; ++k) b[i] -= a[k][i] * b[k];
    b[i] /= a[i][i];
  }
  return true;
}

// Adds one sample's part of the gradient and of the curvature's lower half.
void accumulate(const Sample& sample, double chance, Matrix& curvature, Vector& gradient) {
  const Features& x = *sample.features;
  const double pull = sample.weight * ((sample.same ? 1.0 : 0.0) - chance);
  const double bend = sample.weight * chance * (1 - chance);
  for (std::size_t i = 0; i < kFeatures; ++i) {
    const double xi = x[i];
    gradient[i] += pull * xi;
    const double scaled = bend * xi;
    for (std::size_t j = 0; j <= i; ++j) curvature[i][j] += scaled * static_cast<double>(x[j]);
  }
}

// A full step of Newton's method, or as much of it as changes no weight by more than kFurthest: far from the optimum
// the curvature flattens and a full step would run away.
double step_length(const Vector& change) {
  constexpr double kFurthest = 0.5;
  double furthest = 0;
  for (const double each : change) furthest = std::max(furthest, std::abs(each));
  return furthest > kFurthest ? kFurthest / furthest : 1.0;
}

}  // namespace

std::string_view name_of(Feature feature) { return kScales[feature].name; }

void standardise(Features& features) {
  for (std::size_t i = 0; i < kFeatures; ++i)
    features[i] = (features[i] - kScales[i].mean) / kScales[i].width;
}

LogisticModel::LogisticModel() {
  for (std::size_t i = 0; i < kFeatures; ++i) weights_[i] = kScales[i].prior;
}

float LogisticModel::logit(const Features& features) const {
  double sum = 0;
  for (std::size_t i = 0; i < kFeatures; ++i) sum += weights_[i] * static_cast<double>(features[i]);
  return static_cast<float>(sum);
}

void LogisticModel::fit(std::span<const Sample> samples, int steps) {
  for (int step = 0; step < steps; ++step) {
    Matrix curvature{};
    Vector change{};
    for (const Sample& sample : samples) {
      const double chance = probability(static_cast<double>(logit(*sample.features) + sample.offset));
      accumulate(sample, chance, curvature, change);
    }
    for (std::size_t i = 0; i < kFeatures; ++i) {
      curvature[i][i] += kScales[i].precision;
      change[i] -= kScales[i].precision * (weights_[i] - kScales[i].prior);
    }
    if (!solve(curvature, change)) return;
    const double shrink = step_length(change);
    for (std::size_t i = 0; i < kFeatures; ++i) weights_[i] += shrink * change[i];
  }
}

double probability(double logit) { return 1.0 / (1.0 + std::exp(-logit)); }

}  // namespace sentinel::semantic
