// Runs one kernel of the file KERNELS on the processor: host KERNEL BLOCKS THREADS SIZE*16 FIRST SECOND THIRD OUT
// The last four are lengths; the tensors come in on stdin as doubles, one after another, and the result goes out on stdout.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include KERNELS

static std::vector<Real> read(size_t length) {
    std::vector<double> numbers(length);
    if (fread(numbers.data(), sizeof(double), length, stdin) != length) {
        exit(2);
    }
    return std::vector<Real>(numbers.begin(), numbers.end());
}

int main(int, char **arguments) {
    const auto number = [&](int at) { return strtoul(arguments[at], nullptr, 10); };
    const Function kernel = kernels.at(arguments[1]);
    blocks = number(2), threads = number(3);
    Sizes sizes;
    for (int i = 0; i < 16; i++) {
        sizes.at[i] = number(4 + i);
    }
    const std::vector<Real> first = read(number(20)), second = read(number(21)), third = read(number(22));
    const auto run = [&](bool order) {
        std::vector<Real> out(number(23), NAN);
        backwards = order;
        kernel({first.data(), second.data(), third.data()}, out.data(), sizes);
        return std::vector<double>(out.begin(), out.end());
    };
    const std::vector<double> out = run(false), again = run(true);
    if (memcmp(out.data(), again.data(), sizeof(double) * out.size())) {
        fputs("the order of threads matters\n", stderr);
        return 3;
    }
    return fwrite(out.data(), sizeof(double), out.size(), stdout) != out.size();
}
