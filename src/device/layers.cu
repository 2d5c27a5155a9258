// The operations of layers.rs on CUDA: the formulas and the shapes are there.

#ifndef REAL
#define REAL float
#endif
#include "kernel.h"

// A block takes a panel, whose events are a warp's lanes, and has WAYS threads for each. Layers are phases: what one leaves in
// the output, the next finds there.
struct Network {
    static constexpr int LANES = 32, WAYS = 16;

    struct Shared {
        Real sums[WAYS][LANES];
    };

    Inputs in;
    Real *out;
    const Sizes &sizes;
    size_t panels, planes, option, units, parameters;
    bool rectified;
    int layers;

    __device__ Network(Inputs in, Real *out, const Sizes &sizes)
        : in(in), out(out), sizes(sizes), panels(sizes.at[0]), planes(sizes.at[1]), option(sizes.at[2]), rectified(sizes.at[3]),
          layers(sizes.at[4]) {
        units = unit(layers + 1);
        parameters = weight(layers);
    }

    __device__ size_t width(int layer) const { return sizes.at[5 + layer]; }

    // Where a layer's units begin.
    __device__ size_t unit(int layer) const {
        size_t before = 0;
        for (int below = 0; below < layer; below++) {
            before += width(below);
        }
        return before;
    }

    // Where the weights begin that a layer is multiplied by.
    __device__ size_t weight(int layer) const {
        size_t before = 0;
        for (int below = 0; below < layer; below++) {
            before += (width(below) + 1) * width(below + 1);
        }
        return before;
    }

    // A layer in a trace, which is `in.first` of all but Forward.
    __device__ size_t traced(size_t panel, int plane, int layer) const {
        return ((panel * planes + plane) * units + unit(layer)) * LANES;
    }

    // A layer in an array of all units but inputs.
    __device__ size_t signalled(size_t panel, int layer) const {
        return (panel * (units - width(0)) + unit(layer) - width(0)) * LANES;
    }

    // f'(z) of a unit with the activation a.
    __device__ Real slope(int layer, Real a) const { return rectified && layer < layers && !(a > 0) ? 0 : 1; }

    __device__ static Real product(const Real *weights, size_t stride, const Real *values, size_t count, Real sum) {
        for (size_t i = 0; i < count; i++) {
            sum += weights[i * stride] * values[i * LANES];
        }
        return sum;
    }

    // Wᵀ a + b of one unit above `layer`.
    __device__ Real mean(const Real *weights, int layer, size_t column, const Real *a) const {
        const size_t rows = width(layer), columns = width(layer + 1);
        weights += weight(layer) + column;
        return product(weights, columns, a, rows, weights[rows * columns]);
    }

    // Vᵀ a² of one unit above `layer`.
    __device__ Real variance(const Real *weights, int layer, size_t column, const Real *a) const {
        const size_t rows = width(layer), columns = width(layer + 1);
        weights += weight(layer) + column;
        Real sum = weights[rows * columns];
        for (size_t i = 0; i < rows; i++) {
            sum += weights[i * columns] * (a[i * LANES] * a[i * LANES]);
        }
        return sum;
    }

    // ∂L/∂a of one unit from the signals of the layer above.
    __device__ Real back(size_t panel, int layer, size_t row, int lane, const Real *signals) const {
        const size_t columns = width(layer + 1);
        signals += signalled(panel, layer + 1) + lane;
        const Real *weights = in.second + weight(layer) + row * columns;
        const Real sum = product(weights, 1, signals, columns, 0);
        if (!option) {
            return sum;
        }
        const Real *widening = in.first + traced(panel, 1, layer + 1) + lane;
        Real spread = 0;
        for (size_t i = 0; i < columns; i++) {
            spread += weights[parameters + i] * (2 * signals[i * LANES] * widening[i * LANES]);
        }
        return sum + spread * in.first[traced(panel, 0, layer) + row * LANES + lane];
    }
};

struct Forward : Network {
    using Network::Network;

    __device__ int phases() const { return layers + 1; }

    __device__ void phase(int layer, Shared &, int block, int thread, int) const {
        for (size_t unit = thread / LANES; unit < width(layer); unit += WAYS) {
            const size_t at = unit * LANES + thread % LANES;
            layer == 0 ? copy(block, at) : activate(block, layer, unit, at);
        }
    }

    __device__ void copy(size_t block, size_t at) const {
        const size_t set = option ? block : block % panels;
        out[traced(block, 0, 0) + at] = in.first[set * (width(0) + 1) * LANES + at];
        if (planes == 2) {
            out[traced(block, 1, 0) + at] = 0;
        }
    }

    __device__ void activate(size_t block, int layer, size_t unit, size_t at) const {
        const Real *weights = in.second + block / panels * planes * parameters;
        const Real *a = out + traced(block, 0, layer - 1) + at % LANES;
        Real z = mean(weights, layer - 1, unit, a);
        if (planes == 2) {
            const Real draw = in.third[signalled(block, layer) + at];
            const Real deviation = sqrt(variance(weights + parameters, layer - 1, unit, a));
            z += deviation * draw;
            out[traced(block, 1, layer) + at] = deviation > 0 ? draw / (2 * deviation) : 0;
        }
        out[traced(block, 0, layer) + at] = slope(layer, z) ? z : 0;
    }
};

struct Backward : Network {
    using Network::Network;

    __device__ int phases() const { return layers; }

    __device__ void phase(int phase, Shared &, int panel, int thread, int) const {
        const int lane = thread % LANES, layer = layers - phase;
        for (size_t unit = thread / LANES; unit < width(layer); unit += WAYS) {
            const size_t at = unit * LANES + lane;
            out[signalled(panel, layer) + at] =
                phase == 0 ? in.third[panel * width(layer) * LANES + at]
                           : slope(layer, in.first[traced(panel, 0, layer) + at]) * back(panel, layer, unit, lane, out);
        }
    }
};

struct InputSignal : Network {
    using Network::Network;

    __device__ int phases() const { return 1; }

    __device__ void phase(int, Shared &, int panel, int thread, int) const {
        const int lane = thread % LANES;
        for (size_t unit = thread / LANES; unit < width(0); unit += WAYS) {
            out[(panel * width(0) + unit) * LANES + lane] = back(panel, 0, unit, lane, in.third);
        }
    }
};

struct Tangent : Network {
    using Network::Network;

    __device__ int phases() const { return layers; }

    __device__ void phase(int below, Shared &, int panel, int thread, int) const {
        const int lane = thread % LANES, layer = below + 1;
        const Real *a = in.first + traced(panel, 0, below) + lane;
        for (size_t unit = thread / LANES; unit < width(layer); unit += WAYS) {
            const size_t at = unit * LANES + lane;
            Real tangent = mean(in.third, below, unit, a);
            if (below > 0) {
                const Real *weights = in.second + weight(below) + unit;
                tangent = product(weights, width(layer), out + signalled(panel, below) + lane, width(below), tangent);
            }
            out[signalled(panel, layer) + at] = slope(layer, in.first[traced(panel, 0, layer) + at]) * tangent;
        }
    }
};

struct VarianceAlong : Network {
    using Network::Network;

    __device__ int phases() const { return 2; }

    __device__ void phase(int phase, Shared &shared, int panel, int thread, int) const {
        const int lane = thread % LANES, way = thread / LANES;
        Real sum = 0;
        if (phase == 0) {
            for (int layer = 1; layer <= layers; layer++) {
                const Real *a = in.first + traced(panel, 0, layer - 1) + lane;
                const Real *signals = in.third + signalled(panel, layer) + lane;
                for (size_t unit = way; unit < width(layer); unit += WAYS) {
                    sum += variance(in.second, layer - 1, unit, a) * (signals[unit * LANES] * signals[unit * LANES]);
                }
            }
            shared.sums[way][lane] = sum;
        } else if (way == 0) {
            for (int other = 0; other < WAYS; other++) {
                sum += shared.sums[other][lane];
            }
            out[panel * LANES + lane] = sum;
        }
    }
};

// Of an event, by its input a, its signal and how its pre-activation widens.
struct Gradient {
    __device__ static Real term(Real a, Real signal, const Real *, size_t) { return a * signal; }
};

struct Curvature {
    __device__ static Real term(Real a, Real signal, const Real *, size_t) { return a * a * (signal * signal); }
};

struct InVariance {
    __device__ static Real term(Real a, Real signal, const Real *trace, size_t widening) { return a * a * (signal * trace[widening]); }
};

// A block takes WAYS weights, a warp each. Lanes are added in a fixed order, so that every run gives the same bits.
template <class Term> struct Sum : Network {
    using Network::Network;

    __device__ int phases() const { return 2; }

    __device__ void phase(int phase, Shared &shared, int block, int thread, int) const {
        const int lane = thread % LANES, way = thread / LANES;
        const size_t at = (size_t)block * WAYS + way;
        if (at >= parameters) {
            return;
        }
        if (phase == 0) {
            shared.sums[way][lane] = over_panels(at, lane);
        } else if (lane == 0) {
            Real sum = 0;
            for (int other = 0; other < LANES; other++) {
                sum += shared.sums[way][other];
            }
            out[at] = sum;
        }
    }

    __device__ Real over_panels(size_t at, int lane) const {
        int layer = 0;
        while (at >= weight(layer + 1)) {
            layer++;
        }
        const size_t columns = width(layer + 1), row = (at - weight(layer)) / columns, column = (at - weight(layer)) % columns;
        Real sum = 0;
        for (size_t panel = 0; panel < panels; panel++) {
            const Real a = row == width(layer) ? 1 : in.first[traced(panel, 0, layer) + row * LANES + lane];
            const size_t above = column * LANES + lane;
            sum += Term::term(a, in.second[signalled(panel, layer + 1) + above], in.first, traced(panel, 1, layer + 1) + above);
        }
        return sum;
    }
};

KERNEL(forward, Forward)
KERNEL(backward, Backward)
KERNEL(input_signal, InputSignal)
KERNEL(tangent, Tangent)
KERNEL(variance_along, VarianceAlong)
KERNEL(gradient, Sum<Gradient>)
KERNEL(curvature, Sum<Curvature>)
KERNEL(variance_gradient, Sum<InVariance>)
