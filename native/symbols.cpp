// Numbers coded by tables that a trained model brings (docs/FORMAT.md, 3.3), and their Python bindings.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>

#include "errors.h"
#include "rans_bytes.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace aquatint {
namespace {

template <class T, size_t dimensions>
using Array = nb::ndarray<const T, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;
using Rows = Array<uint16_t, 1>;

constexpr int kMostShift = 12;
constexpr int kLargestValue = 1 << 15;

/// Tables of a model, each of the 31 differences -15..15 and the escape; see cumulative_tables() for the last zero.
class NumberTables {
  public:
    NumberTables(const Array<uint16_t, 2>& cumulative, const Array<uint8_t, 1>& shifts)
        : count_(cumulative.shape(0)), shifts_(shifts.data(), shifts.data() + shifts.size()) {
        if (cumulative.shape(1) != kSymbols)
            throw Error(kUsage, "a table has " + number(cumulative.shape(1)) + " entries, not " + number(kSymbols));
        if (shifts_.size() != count_)
            throw Error(kUsage, number(shifts_.size()) + " shifts given for " + number(count_) + " tables");
        entries_.assign(cumulative.data(), cumulative.data() + cumulative.size());
        entries_.push_back(0);
        for (size_t row = 0; row < count_; row++) {
            require(kUsage, "the shift of table " + number(row), shifts_[row], 0, kMostShift);
            const uint16_t* entry = entries_.data() + kSymbols * row;
            require(kUsage, "the first entry of table " + number(row), entry[0], 0, 0);
            for (int j = 1; j < kSymbols; j++)
                require(kUsage, "an entry of table " + number(row), entry[j], entry[j - 1], UINT16_MAX);
        }
    }

    Placement placement(uint16_t row) const {
        require(kUsage, "the number of a table", row, 0, static_cast<long long>(count_) - 1);
        const int shift = shifts_[row];
        // Bins of several numbers are centred on zero.
        return {shift > 0 ? -(1 << (shift - 1)) : 0, shift, row};
    }

    const uint16_t* entries() const { return entries_.data(); }

  private:
    size_t count_;
    std::vector<uint8_t> shifts_;
    std::vector<uint16_t> entries_;
};

nb::bytes encode_numbers(const NumberTables& tables, const Array<int32_t, 1>& values, const Rows& rows) {
    if (values.size() != rows.size())
        throw Error(kUsage, number(rows.size()) + " tables given for " + number(values.size()) + " numbers");
    std::vector<uint8_t> out;
    {
        nb::gil_scoped_release release;
        std::vector<Symbol> symbols;
        symbols.reserve(values.size());
        for (size_t i = 0; i < values.size(); i++) {
            const int value = values.data()[i];
            require(kUsage, "a number", value, -kLargestValue, kLargestValue);
            Symbol written[kSymbolsPerNumber];
            const Symbol* end = write_number(written, value, tables.entries(), tables.placement(rows.data()[i]));
            symbols.insert(symbols.end(), static_cast<const Symbol*>(written), end);
        }
        append_coded(symbols, out);
    }
    return nb::bytes(out.data(), out.size());
}

/// Reads numbers in pieces, because the tables of later ones depend on earlier ones.
class NumberReader {
  public:
    NumberReader(const NumberTables& tables, const nb::bytes& data)
        : tables_(tables),
          bytes_(static_cast<const uint8_t*>(data.data()), static_cast<const uint8_t*>(data.data()) + data.size()),
          reader_(open_reader(bytes_)) {}

    nb::ndarray<nb::numpy, int32_t> read(const Rows& rows) {
        const size_t count = rows.size();
        auto values = std::make_unique_for_overwrite<int32_t[]>(count);
        for (size_t i = 0; i < count; i++) {
            const int value = read_number(reader_, tables_.entries(), tables_.placement(rows.data()[i]));
            if (reader_.exhausted) throw Error(kTruncated, "the stream ends at latent " + number(i) + " of a group");
            require(kCorrupt, "a latent", value, -kLargestValue, kLargestValue);
            values[i] = value;
        }
        int32_t* const first = values.release();
        nb::capsule owner(first, [](void* p) noexcept { delete[] static_cast<int32_t*>(p); });
        return nb::ndarray<nb::numpy, int32_t>(first, {count}, owner);
    }

    void finish() const { check_end(reader_); }

  private:
    const NumberTables& tables_;
    std::vector<uint8_t> bytes_;
    RansReader reader_;
};

}  // namespace

void bind_symbols(nb::module_& module) {
    nb::class_<NumberTables>(module, "NumberTables")
        .def(nb::init<const Array<uint16_t, 2>&, const Array<uint8_t, 1>&>(), "cumulative"_a.noconvert(),
             "shifts"_a.noconvert());
    module.def("encode_numbers", &encode_numbers, "tables"_a, "values"_a.noconvert(), "rows"_a.noconvert());
    nb::class_<NumberReader>(module, "NumberReader")
        .def(nb::init<const NumberTables&, const nb::bytes&>(), "tables"_a, "data"_a, nb::keep_alive<1, 2>())
        .def("read", &NumberReader::read, "rows"_a.noconvert())
        .def("finish", &NumberReader::finish);
}

}  // namespace aquatint
